// SPDX-License-Identifier: GPL-2.0
#include "repl/checksum.h"

#include <config.h>

#include <vector>

#ifdef HAVE_XXH3_DISPATCH
// The library takes the widest vectors that the processor has when it runs.  The
// compiler may assume no more than what every processor of its kind has: SSE2.
#include <xxh_x86dispatch.h>
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

namespace ddsnap::repl {

Sum Checksum(std::span<const std::byte> data) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.data(), data.size()));
  Sum sum;
  static_assert(sizeof canonical.digest == sizeof sum);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = canonical.digest[i];
  return sum;
}

Sum Checksum(std::initializer_list<std::span<const std::byte>> pieces) {
  std::vector<std::byte> whole;
  for (const auto& piece : pieces) whole.insert(whole.end(), piece.begin(), piece.end());
  return Checksum(whole);
}

}  // namespace ddsnap::repl
