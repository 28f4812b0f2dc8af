// SPDX-License-Identifier: GPL-2.0
// The sums of replication are the same whatever code the processor gets.
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR  // what every machine can do
#include <xxhash.h>

#include <algorithm>
#include <random>
#include <vector>

#include "repl/checksum.h"
#include "repl/format.h"
#include "unit.h"

using namespace ddsnap;
using namespace ddsnap::repl;

namespace {

Sum Plain(std::span<const std::byte> data) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.data(), data.size()));
  Sum sum;
  std::ranges::copy(canonical.digest, sum.begin());
  return sum;
}

std::vector<std::byte> RandomBytes(size_t size) {
  std::minstd_rand random(1);
  std::vector<std::byte> out(size);
  for (std::byte& b : out) b = static_cast<std::byte>(random() >> 8);
  return out;
}

}  // namespace

START_TEST(the_format_names_these_sums) {
  // XXH3-128 of nothing and of 10000 bytes 0, 1, ..., 255, 0, ..., by xxhsum -H2.
  const Sum nothing = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                       0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
  ck_assert(Checksum(std::span<const std::byte>()) == nothing);
  std::vector<std::byte> bytes(10000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const Sum many = {0xdd, 0xd8, 0x80, 0x95, 0x1f, 0x8a, 0xf0, 0x04,
                    0x3e, 0xee, 0x77, 0x44, 0x0c, 0x4c, 0x3d, 0x08};
  ck_assert(Checksum(bytes) == many);
}
END_TEST

START_TEST(every_length_and_alignment_has_the_sum_of_plain_code) {
  const auto bytes = RandomBytes(kMaxExtent + 64);
  for (const size_t from : {0, 1, 7, 32, 63}) {
    const auto rest = std::span(bytes).subspan(from);
    for (size_t size = 0; size <= 2500; ++size)
      ck_assert_msg(Checksum(rest.first(size)) == Plain(rest.first(size)), "%zu bytes", size);
    for (const size_t size : {4096u, 65536u, kMaxExtent - 1, kMaxExtent})
      ck_assert_msg(Checksum(rest.first(size)) == Plain(rest.first(size)), "%zu bytes", size);
  }
}
END_TEST

START_TEST(pieces_have_the_sum_of_the_whole) {
  const auto bytes = RandomBytes(70000);
  const std::span<const std::byte> all = bytes;
  ck_assert(Checksum({all.first(16), all.subspan(16, 24), all.subspan(40)}) == Checksum(all));
  ck_assert(Checksum({all.first(16), {}, all.subspan(16, 24)}) == Checksum(all.first(40)));
  ck_assert(Checksum({all.first(16), all.subspan(16)}) !=
            Checksum({all.subspan(16), all.first(16)}));
}
END_TEST

UNIT_MAIN("checksum", the_format_names_these_sums,
          every_length_and_alignment_has_the_sum_of_plain_code, pieces_have_the_sum_of_the_whole)
