// SPDX-License-Identifier: GPL-2.0
// lib/base against plain models and published values.
#include <cerrno>
#include <random>
#include <set>
#include <string>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fd.h"
#include "base/range_set.h"
#include "base/uuid.h"
#include "unit.h"

using namespace ddsnap;

START_TEST(integers_are_little_endian_at_any_address) {
  struct {
    uint8_t pad;
    Le16 a;
    Le32 b;
    Le64 c;
  } s = {};
  static_assert(sizeof(s) == 15);
  s.a = 0x1234;
  s.b = 0x12345678;
  s.c = 0x123456789abcdef0;
  const uint8_t expected[] = {0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xf0,
                              0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12};
  ck_assert_mem_eq(reinterpret_cast<const uint8_t*>(&s) + 1, expected, sizeof(expected));
  ck_assert_uint_eq(s.a, 0x1234);
  ck_assert_uint_eq(s.b, 0x12345678);
  ck_assert_uint_eq(s.c, 0x123456789abcdef0);
}
END_TEST

// The vectors of RFC 3720, B.4.
START_TEST(crc32c_has_the_published_values) {
  std::array<std::byte, 32> data{};
  ck_assert_uint_eq(Crc32c(data), 0x8a9136aa);
  data.fill(std::byte{0xff});
  ck_assert_uint_eq(Crc32c(data), 0x62a8ab43);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  ck_assert_uint_eq(Crc32c(data), 0x46dd794e);
  const auto whole = std::span<const std::byte>(data);
  ck_assert_uint_eq(Crc32c(whole.subspan(7), Crc32c(whole.first(7))), 0x46dd794e);
  ck_assert_uint_eq(Crc32c({}), 0);
}
END_TEST

START_TEST(a_range_set_is_a_set) {
  std::mt19937 random(1);
  RangeSet ranges;
  std::set<uint64_t> model;
  for (int step = 0; step < 20000; ++step) {
    const uint64_t start = random() % 200;
    const uint64_t count = random() % 20;
    if (random() % 2 == 0) {
      ranges.Add(start, count);
      for (uint64_t i = 0; i < count; ++i) model.insert(start + i);
    } else {
      ranges.Remove(start, count);
      for (uint64_t i = 0; i < count; ++i) model.erase(start + i);
    }
    ck_assert_uint_eq(ranges.total(), model.size());
    uint64_t end = 0;
    for (const auto& [a, b] : ranges.ranges()) {  // merged, in order, not empty
      ck_assert(a < b && (end == 0 || a > end));
      end = b;
    }
    const uint64_t at = random() % 200;
    const uint64_t length = 1 + random() % 10;
    bool all = true;
    bool any = false;
    for (uint64_t i = 0; i < length; ++i) {
      all = all && model.contains(at + i);
      any = any || model.contains(at + i);
    }
    ck_assert(ranges.Contains(at, length) == all);
    ck_assert(ranges.OverlapEnd(at, length).has_value() == any);
  }
}
END_TEST

START_TEST(a_uuid_survives_text) {
  Uuid uuid;
  for (size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<uint8_t>(i * 17);
  const std::string text = FormatUuid(uuid);
  ck_assert_str_eq(text.c_str(), "00112233-4455-6677-8899-aabbccddeeff");
  auto parsed = ParseUuid(text);
  CK_OK(parsed);
  ck_assert(*parsed == uuid);
  for (const char* bad : {"", "00112233-4455-6677-8899-aabbccddeef", "00112233x4455-6677-8899-aabbccddeeff",
                          "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddeeff0"}) {
    ck_assert_msg(!ParseUuid(bad), "accepted \"%s\"", bad);
  }
}
END_TEST

START_TEST(the_boot_has_a_stable_id) {
  auto one = ReadBootId();
  CK_OK(one);
  auto two = ReadBootId();
  CK_OK(two);
  ck_assert(*one == *two && *one != Uuid{});
}
END_TEST

START_TEST(a_descriptor_is_closed_once) {
  int ends[2];
  ck_assert_int_eq(::pipe(ends), 0);
  Fd read_end(ends[0]);
  {
    Fd write_end(ends[1]);
    Fd moved = std::move(write_end);
    ck_assert(moved && moved.get() == ends[1]);
  }
  char byte;
  ck_assert_int_eq(::read(read_end.get(), &byte, 1), 0);  // the other end is closed
  const int raw = read_end.Release();
  ck_assert(!read_end && ::close(raw) == 0);
}
END_TEST

UNIT_MAIN("base", integers_are_little_endian_at_any_address, crc32c_has_the_published_values,
          a_range_set_is_a_set, a_uuid_survives_text, the_boot_has_a_stable_id,
          a_descriptor_is_closed_once)
