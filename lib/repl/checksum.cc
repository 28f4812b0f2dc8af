// SPDX-License-Identifier: GPL-2.0
#include "repl/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ddsnap::repl {
namespace {

Sum Canonical(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  Sum sum;
  static_assert(sizeof canonical.digest == sizeof sum);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = canonical.digest[i];
  return sum;
}

}  // namespace

Sum Checksum(std::span<const std::byte> data) {
  return Canonical(XXH3_128bits(data.data(), data.size()));
}

Sum Checksum(std::initializer_list<std::span<const std::byte>> pieces) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  for (const auto& piece : pieces) XXH3_128bits_update(&state, piece.data(), piece.size());
  return Canonical(XXH3_128bits_digest(&state));
}

}  // namespace ddsnap::repl
