// SPDX-License-Identifier: GPL-2.0
#include <cerrno>

#include "base/uuid.h"
#include "cli/options.h"
#include "unit.h"

using namespace ddsnap;

START_TEST(sizes_have_suffixes) {
  ck_assert_uint_eq(*ParseSize("512"), 512);
  ck_assert_uint_eq(*ParseSize("16k"), 16384);
  ck_assert_uint_eq(*ParseSize("1M"), 1 << 20);
  ck_assert_uint_eq(*ParseSize("3G"), 3ull << 30);
  ck_assert_uint_eq(*ParseSize("2T"), 2ull << 40);
  for (const char* bad : {"", "k", "-1", "1.5M", "16kk", "0x10", " 1", "1 ", "16777216T"}) {
    ck_assert_msg(!ParseSize(bad), "%s was taken", bad);
  }
}
END_TEST

START_TEST(tags_are_32_bits_but_one) {
  ck_assert_uint_eq(*ParseTag("0"), 0);
  ck_assert_uint_eq(*ParseTag("4294967294"), 4294967294u);
  for (const char* bad : {"4294967295", "-1", "", "1k", "99999999999"}) ck_assert(!ParseTag(bad));
}
END_TEST

START_TEST(sizes_for_people) {
  ck_assert(FormatSize(0) == "0");
  ck_assert(FormatSize(1023) == "1023");
  ck_assert(FormatSize(16384) == "16K");
  ck_assert(FormatSize(1536) == "1.5K");
  ck_assert(FormatSize(5ull << 40) == "5T");
}
END_TEST

START_TEST(uuids_are_text_and_back) {
  const std::string text = "01234567-89ab-cdef-0123-456789abcdef";
  auto uuid = ParseUuid(text);
  CK_OK(uuid);
  ck_assert(FormatUuid(*uuid) == text);
  ck_assert(ParseUuid("01234567-89AB-CDEF-0123-456789ABCDEF") == *uuid);
  for (const char* bad :
       {"", "01234567-89ab-cdef-0123-456789abcde", "x", "0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdef0", "0123456789ab-cdef-0123-456789abcdef--"}) {
    ck_assert_msg(!ParseUuid(bad), "%s was taken", bad);
  }
  CK_OK(ReadBootId());
}
END_TEST

UNIT_MAIN("options", sizes_have_suffixes, tags_are_32_bits_but_one, sizes_for_people,
          uuids_are_text_and_back)
