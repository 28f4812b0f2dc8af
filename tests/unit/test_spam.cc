// SPDX-License-Identifier: GPL-2.0
#include "repl/spam.h"

#include <array>

#include "unit.h"

using namespace ddsnap::repl;

START_TEST(a_block_says_what_it_is) {
  std::array<std::byte, kSpamBlock> block;
  const SpamId id{123456789012, 3, 42};
  FillSpam(id, block);
  ck_assert(ReadSpam(block) == id);
}
END_TEST

START_TEST(every_flipped_byte_is_seen) {
  std::array<std::byte, kSpamBlock> block;
  FillSpam({5, 1, 0}, block);
  for (std::byte& b : block) {
    b ^= std::byte{4};
    ck_assert(!ReadSpam(block));
    b ^= std::byte{4};
  }
}
END_TEST

START_TEST(about_the_wanted_share_is_chosen) {
  unsigned chosen = 0;
  for (uint64_t i = 0; i < 100000; ++i) chosen += SpamChooses({i, 1, 0}, 10) ? 1 : 0;
  ck_assert_uint_gt(chosen, 9000);
  ck_assert_uint_lt(chosen, 11000);
}
END_TEST

UNIT_MAIN("spam", a_block_says_what_it_is, every_flipped_byte_is_seen,
          about_the_wanted_share_is_chosen)
