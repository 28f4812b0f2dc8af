// SPDX-License-Identifier: GPL-2.0
// Deltas from end to end: created from two files, applied to a third.
#include <algorithm>
#include <cerrno>

#include "repl_helpers.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::unit;

namespace {

constexpr uint32_t kChunk = 4096;

Bytes RandomBytes(Random& random, size_t size) {
  Bytes out(size);
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  return out;
}

// Base and target that differ in three chunks, as files and as delta.
struct Pair {
  Random random{7};
  Bytes base = RandomBytes(random, 8 * kChunk);
  Bytes target = base;
  Bytes delta;
  explicit Pair(Mode mode = Mode::kRaw, int level = 0) {
    Scribble(random, std::span(target).subspan(kChunk, 2 * kChunk));
    std::fill_n(target.begin() + 4 * kChunk, kChunk, std::byte{0});
    target[6 * kChunk] ^= std::byte{1};
    ck_assert(base != target);
    delta = MakeDelta(List(), TempFile(base), TempFile(target), mode, level);
  }
  [[nodiscard]] Bytes List() const {
    return MakeChangelist(MakeHead(kChunk, base.size(), target.size()), {{1, 2}, {4, 1}, {6, 1}});
  }
};

constexpr std::pair<Mode, int> kModes[] = {
    {Mode::kRaw, 0}, {Mode::kRaw, 3}, {Mode::kDiff, 0}, {Mode::kBest, 1}};

}  // namespace

START_TEST(apply_makes_the_target_of_the_base) {
  for (const auto& [mode, level] : kModes) {
    const Pair pair(mode, level);
    for (const bool file : {true, false}) {
      const TempFile device(pair.base);
      auto summary = Apply(pair.delta, device, file);
      CK_OK(summary);
      ck_assert_uint_eq(summary->extents, 3);
      ck_assert(device.Content() == pair.target);
      // And again: what is done already is done.
      summary = Apply(pair.delta, device, file);
      CK_OK(summary);
      ck_assert_uint_eq(summary->already, summary->bytes);
      ck_assert(device.Content() == pair.target);
    }
  }
}
END_TEST

START_TEST(modes_choose_their_kinds) {
  ck_assert_uint_gt(Pair(Mode::kRaw).delta.size(), Pair(Mode::kBest).delta.size());
  // One flipped bit in random content: only a difference is short.
  const Pair pair(Mode::kBest);
  MemorySource source(pair.delta);
  auto reader = DeltaReader::Open(source);
  CK_OK(reader);
  ck_assert(reader->head().common == MakeHead(kChunk, 8 * kChunk, 8 * kChunk) ||
            reader->head().common.made_ns == 0);
  std::vector<Extent::Kind> kinds;
  Extent extent;
  Record record;
  for (;;) {
    auto more = reader->Next(&extent, &record);
    CK_OK(more);
    if (!*more) break;
    kinds.push_back(extent.kind);
  }
  ck_assert_uint_eq(kinds.size(), 3);
  ck_assert(kinds[1] == Extent::Kind::kZero);
  ck_assert(kinds[2] == Extent::Kind::kDiff);
}
END_TEST

START_TEST(an_empty_changelist_makes_an_empty_delta) {
  const Bytes content(3 * kChunk);
  const TempFile a(content), b(content);
  const Bytes delta =
      MakeDelta(MakeChangelist(MakeHead(kChunk, content.size(), content.size()), {}), a, b);
  auto summary = Apply(delta, a);
  CK_OK(summary);
  ck_assert_uint_eq(summary->extents, 0);
}
END_TEST

START_TEST(listed_but_equal_chunks_are_left_out) {
  const Bytes content(3 * kChunk, std::byte{9});
  const TempFile a(content), b(content);
  const Bytes delta =
      MakeDelta(MakeChangelist(MakeHead(kChunk, content.size(), content.size()), {{0, 3}}), a, b);
  auto summary = Apply(delta, a);
  CK_OK(summary);
  ck_assert_uint_eq(summary->extents, 0);
}
END_TEST

START_TEST(every_truncation_is_refused_before_a_write) {
  const Pair pair;
  const TempFile device(pair.base);
  for (size_t n = 0; n < pair.delta.size(); n += n < 400 || n + 400 > pair.delta.size() ? 1 : 97) {
    auto summary = Apply(std::span(pair.delta).first(n), device);
    ck_assert(!summary);
    ck_assert_int_eq(summary.error().code, EBADMSG);
    ck_assert_msg(summary.error().text == "memory: truncated at byte " + std::to_string(n), "%s",
                  summary.error().text.c_str());
  }
  ck_assert(device.Content() == pair.base);
}
END_TEST

START_TEST(every_flipped_byte_is_refused_before_a_write) {
  for (const auto& [mode, level] : kModes) {
    Pair pair(mode, level);
    const TempFile device(pair.base);
    // All of heads and bodies; payloads are long, so a part of them.
    for (size_t i = 0; i < pair.delta.size(); i += i % 4096 < 700 ? 1 : 61) {
      pair.delta[i] ^= std::byte{0x10};
      auto summary = Apply(pair.delta, device);
      ck_assert_msg(!summary, "byte %zu", i);
      pair.delta[i] ^= std::byte{0x10};
    }
    ck_assert(device.Content() == pair.base);
  }
}
END_TEST

START_TEST(a_damaged_payload_is_named_by_its_offset) {
  Pair pair;
  pair.delta[pair.delta.size() / 4] ^= std::byte{1};
  const TempFile device(pair.base);
  auto summary = Apply(pair.delta, device);
  ck_assert(!summary);
  // The first payload begins after the stream's beginning, its head, and its own.
  const size_t offset = sizeof(RawBegin) + sizeof(RawRecord) + sizeof(RawDeltaHead) +
                        sizeof(RawRecord) + sizeof(RawExtent);
  ck_assert_msg(summary.error().text == "memory: damaged at byte " + std::to_string(offset) +
                                            ": checksum of the payload does not match",
                "%s", summary.error().text.c_str());
}
END_TEST

START_TEST(a_damaged_pipe_stops_before_the_damage) {
  Pair pair;
  pair.delta[pair.delta.size() - 200] ^= std::byte{1};  // in the last extent
  const TempFile device(pair.base);
  ck_assert(!Apply(pair.delta, device, false));
  const Bytes after = device.Content();
  ck_assert(std::ranges::equal(std::span(after).first(6 * kChunk),
                               std::span(pair.target).first(6 * kChunk)));
  ck_assert(std::ranges::equal(std::span(after).subspan(6 * kChunk),
                               std::span(pair.base).subspan(6 * kChunk)));
}
END_TEST

START_TEST(another_device_is_refused_before_a_write) {
  const Pair pair;
  Bytes other = pair.base;
  other[6 * kChunk + 5] ^= std::byte{1};  // in the last extent
  const TempFile device(other);
  auto summary = Apply(pair.delta, device);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, ESTALE);
  ck_assert(summary.error().text.find("is not the base of memory (snapshot 0)") !=
            std::string::npos);
  ck_assert(device.Content() == other);
}
END_TEST

START_TEST(a_small_device_is_refused) {
  const Pair pair;
  const TempFile device(Bytes(pair.base.begin(), pair.base.end() - 1));
  auto summary = Apply(pair.delta, device);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, ENOSPC);
}
END_TEST

START_TEST(a_device_in_use_is_refused) {
  const Pair pair;
  const TempFile device(pair.base);
  const auto first = device.Open(true);
  auto second = ContentDevice::OpenToChange(device.path());
  ck_assert(!second);
  ck_assert_int_eq(second.error().code, EBUSY);
}
END_TEST

START_TEST(an_interrupted_application_is_finished_by_repeating_it) {
  const Pair pair(Mode::kDiff);
  Bytes half = pair.base;
  std::copy_n(pair.target.begin() + kChunk, 4 * kChunk, half.begin() + kChunk);
  const TempFile device(half);
  auto summary = Apply(pair.delta, device);
  CK_OK(summary);
  ck_assert_uint_eq(summary->already, 3 * kChunk);
  ck_assert(device.Content() == pair.target);
}
END_TEST

START_TEST(a_larger_device_keeps_its_tail) {
  const Pair pair;
  Bytes larger = pair.base;
  larger.resize(larger.size() + 5000, std::byte{0xee});
  const TempFile device(larger);
  CK_OK(Apply(pair.delta, device));
  Bytes expected = pair.target;
  expected.resize(larger.size(), std::byte{0xee});
  ck_assert(device.Content() == expected);
}
END_TEST

START_TEST(growth_and_shrinking_are_followed) {
  Random random(11);
  // Sizes that end in the middle of a chunk too.
  for (const size_t size : {5 * kChunk, 5 * kChunk + 512, 3 * kChunk, 3 * kChunk + 1024}) {
    const Bytes base = RandomBytes(random, 4 * kChunk + 512);
    Bytes target = base;
    target.resize(size, std::byte{3});
    target[0] ^= std::byte{1};
    const Bytes list =
        MakeChangelist(MakeHead(kChunk, base.size(), size), {{0, 1}, {2, uint64_t{1} << 60}});
    for (const auto& [mode, level] : kModes) {
      const Bytes delta = MakeDelta(list, TempFile(base), TempFile(target), mode, level);
      Bytes content = base;
      content.resize(std::max(size, base.size()), std::byte{0x77});
      const TempFile device(content);
      CK_OK(Apply(delta, device));
      std::ranges::copy(target, content.begin());
      ck_assert(device.Content() == content);
    }
  }
}
END_TEST

START_TEST(offsets_beyond_two_terabytes) {
  const uint64_t size = (uint64_t{3} << 40) + kChunk;
  TempFile a, b, device;
  for (const TempFile* file : {&a, &b, &device}) file->Resize(size);
  Random random(3);
  const Bytes content = RandomBytes(random, 3 * kChunk);
  {
    const auto to = b.Open(true);
    CK_OK(to->Write(uint64_t{5} << 39, content));
    CK_OK(to->Write(size - kChunk, std::span(content).first(kChunk)));
  }
  const uint64_t first = (uint64_t{5} << 39) / kChunk;
  const Bytes delta = MakeDelta(
      MakeChangelist(MakeHead(kChunk, size, size), {{first, 3}, {size / kChunk - 1, 1}}), a, b);
  CK_OK(Apply(delta, device));
  Bytes back(content.size());
  CK_OK(device.Open(false)->Read(uint64_t{5} << 39, back));
  ck_assert(back == content);
  back.resize(kChunk);
  CK_OK(device.Open(false)->Read(size - kChunk, back));
  ck_assert(std::ranges::equal(back, std::span(content).first(kChunk)));
}
END_TEST

START_TEST(random_volumes_arrive_as_they_are) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    const uint32_t chunk = kChunk << random() % 4;
    const size_t size = random() % (3 << 20) + 1;
    Bytes base(size);
    for (size_t at = 0; at < size; at += 50000) {
      Scribble(random, std::span(base).subspan(at, std::min<size_t>(50000, size - at)));
    }
    Bytes target = base;
    std::vector<ChunkRange> ranges;
    for (uint64_t c = random() % 5; c * chunk < size;) {
      const uint64_t count = 1 + random() % (random() % 4 == 0 ? 100 : 3);
      const size_t end = std::min<size_t>((c + count) * chunk, size);
      Scribble(random, std::span(target).subspan(c * chunk, end - c * chunk));
      ranges.push_back({c, count});
      c += count + 1 + random() % 20;
    }
    const auto [mode, level] = kModes[random() % std::size(kModes)];
    const Bytes delta = MakeDelta(MakeChangelist(MakeHead(chunk, size, size), ranges),
                                  TempFile(base), TempFile(target), mode, level);
    const TempFile device(base);
    auto summary = Apply(delta, device, random() % 2 == 0);
    ck_assert_msg(summary.has_value(), "seed %llu: %s", static_cast<unsigned long long>(seed),
                  summary ? "" : summary.error().text.c_str());
    ck_assert_msg(device.Content() == target, "seed %llu", static_cast<unsigned long long>(seed));
  }
}
END_TEST

START_TEST(a_snapshot_device_of_other_size_is_refused) {
  const Pair pair;
  Random random(1);
  const Bytes list = pair.List();
  MemorySource source(list);
  MemorySink sink;
  const TempFile small(RandomBytes(random, kChunk)), good(pair.base);
  auto summary = CreateDelta(source, small.Open(false).get(), *good.Open(false), sink, {});
  ck_assert(!summary);
  ck_assert(sink.bytes().empty());
}
END_TEST

START_TEST(a_file_appears_whole_or_not_at_all) {
  const TempFile place(Bytes(3, std::byte{1}));
  {
    auto sink = FileSink::Create(place.path());
    CK_OK(sink);
    CK_OK((*sink)->Write(Bytes(5 << 20, std::byte{2})));
  }
  ck_assert(place.Content() == Bytes(3, std::byte{1}));
  auto sink = FileSink::Create(place.path());
  CK_OK(sink);
  CK_OK((*sink)->Write(Bytes(100, std::byte{2})));
  CK_OK((*sink)->Write(Bytes(5 << 20, std::byte{3})));
  CK_OK((*sink)->Commit());
  Bytes expected(100, std::byte{2});
  expected.resize(100 + (5 << 20), std::byte{3});
  ck_assert(place.Content() == expected);
}
END_TEST

UNIT_MAIN("delta", apply_makes_the_target_of_the_base, modes_choose_their_kinds,
          an_empty_changelist_makes_an_empty_delta, listed_but_equal_chunks_are_left_out,
          every_truncation_is_refused_before_a_write, every_flipped_byte_is_refused_before_a_write,
          a_damaged_payload_is_named_by_its_offset, a_damaged_pipe_stops_before_the_damage,
          another_device_is_refused_before_a_write, a_small_device_is_refused,
          a_device_in_use_is_refused, an_interrupted_application_is_finished_by_repeating_it,
          a_larger_device_keeps_its_tail, growth_and_shrinking_are_followed,
          offsets_beyond_two_terabytes, random_volumes_arrive_as_they_are,
          a_snapshot_device_of_other_size_is_refused, a_file_appears_whole_or_not_at_all)
