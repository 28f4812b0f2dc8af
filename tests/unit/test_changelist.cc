// SPDX-License-Identifier: GPL-2.0
#include "repl/changelist.h"

#include <cerrno>

#include "repl_helpers.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::unit;

namespace {

// All ranges, or the error that reading ends with.
Result<std::vector<ChunkRange>> ReadAll(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  auto list = ChangelistReader::Open(source);
  if (!list) return Pass(list);
  std::vector<ChunkRange> ranges;
  for (;;) {
    auto range = list->Next();
    if (!range) return Pass(range);
    if (!*range) return ranges;
    ranges.push_back(**range);
  }
}

const std::vector<ChunkRange> kSome = {{0, 1}, {5, 3}, {uint64_t{1} << 40, 77}};

}  // namespace

START_TEST(what_is_written_is_read) {
  const StreamHead head = MakeHead(16384, 1 << 20, 1 << 21);
  const Bytes bytes = MakeChangelist(head, kSome);
  MemorySource source(bytes);
  auto list = ChangelistReader::Open(source);
  CK_OK(list);
  ck_assert(list->head() == head);
  auto ranges = ReadAll(bytes);
  CK_OK(ranges);
  ck_assert(*ranges == kSome);
}
END_TEST

START_TEST(an_empty_list_is_a_list) {
  auto ranges = ReadAll(MakeChangelist(MakeHead(4096, 0, 0), {}));
  CK_OK(ranges);
  ck_assert(ranges->empty());
}
END_TEST

START_TEST(touching_ranges_are_merged) {
  auto ranges = ReadAll(MakeChangelist(MakeHead(4096, 0, 0), {{1, 2}, {3, 4}, {8, 0}, {9, 1}}));
  CK_OK(ranges);
  ck_assert((*ranges == std::vector<ChunkRange>{{1, 6}, {9, 1}}));
}
END_TEST

START_TEST(more_ranges_than_one_record_holds) {
  std::vector<ChunkRange> many;
  for (uint64_t i = 0; i < 3 * kRangesPerRecord + 7; ++i) many.push_back({i * 3, 1 + i % 2});
  auto ranges = ReadAll(MakeChangelist(MakeHead(4096, 0, 0), many));
  CK_OK(ranges);
  ck_assert(*ranges == many);
}
END_TEST

START_TEST(ranges_out_of_order_are_refused) {
  MemorySink sink;
  ChangelistWriter writer(sink, MakeHead(4096, 0, 0));
  CK_OK(writer.Add({5, 2}));
  ck_assert(!writer.Add({6, 1}));
  ck_assert(!writer.Add({4, 1}));
  ck_assert(!writer.Add({kMaxSize, 2}));
}
END_TEST

START_TEST(every_truncation_is_refused) {
  const Bytes bytes = MakeChangelist(MakeHead(4096, 1 << 20, 1 << 20), kSome);
  for (size_t n = 0; n < bytes.size(); ++n) {
    auto ranges = ReadAll(std::span(bytes).first(n));
    ck_assert(!ranges);
    ck_assert_int_eq(ranges.error().code, EBADMSG);
    ck_assert_msg(ranges.error().text == "memory: truncated at byte " + std::to_string(n), "%s", ranges.error().text.c_str());
  }
}
END_TEST

START_TEST(every_flipped_bit_is_refused) {
  Bytes bytes = MakeChangelist(MakeHead(4096, 1 << 20, 1 << 20), kSome);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1 << bit % 8)};
    bytes[bit / 8] ^= mask;
    ck_assert_msg(!ReadAll(bytes), "bit %zu", bit);
    bytes[bit / 8] ^= mask;
  }
  CK_OK(ReadAll(bytes));
}
END_TEST

START_TEST(bytes_after_the_end_are_refused) {
  Bytes bytes = MakeChangelist(MakeHead(4096, 1 << 20, 1 << 20), kSome);
  bytes.push_back(std::byte{0});
  auto ranges = ReadAll(bytes);
  ck_assert(!ranges);
  ck_assert(ranges.error().text.ends_with(": data after the end"));
}
END_TEST

START_TEST(unknown_records_are_skipped_only_when_marked) {
  for (const bool skippable : {false, true}) {
    MemorySink sink;
    RecordWriter records(sink, kChangelistMagic);
    CK_OK(records.PutStruct(kHead, PackHead(MakeHead(4096, 1 << 20, 1 << 20))));
    CK_OK(records.Put(TypeCode("NEW!"), {}, {}, skippable ? kSkippable : 0));
    CK_OK(records.PutStruct(kEnd, RawEnd{0, 0}));
    auto ranges = ReadAll(sink.bytes());
    ck_assert(ranges.has_value() == skippable);
    if (!skippable) ck_assert_int_eq(ranges.error().code, ENOTSUP);
  }
}
END_TEST

START_TEST(another_version_is_named) {
  Bytes bytes = MakeChangelist(MakeHead(4096, 1 << 20, 1 << 20), kSome);
  bytes[8] = std::byte{2};
  auto ranges = ReadAll(bytes);
  ck_assert(!ranges);
  ck_assert_int_eq(ranges.error().code, ENOTSUP);
  ck_assert(ranges.error().text.find("version 2") != std::string::npos);
}
END_TEST

UNIT_MAIN("changelist", what_is_written_is_read, an_empty_list_is_a_list,
          touching_ranges_are_merged, more_ranges_than_one_record_holds,
          ranges_out_of_order_are_refused, every_truncation_is_refused,
          every_flipped_bit_is_refused, bytes_after_the_end_are_refused,
          unknown_records_are_skipped_only_when_marked, another_version_is_named)
