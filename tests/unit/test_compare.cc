// SPDX-License-Identifier: GPL-2.0
// Comparing by sums: differences are found exactly and mended, over pipes; damaged, hostile and
// cut streams in both directions.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <set>
#include <thread>

#include "lib/fault_content.h"
#include "repl/compare.h"
#include "repl_helpers.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::test;
using namespace ddsnap::unit;

namespace {

constexpr uint32_t kChunk = 4096;
constexpr size_t kMiB = 1 << 20;

// Writes go on, and are remembered.
class Tee : public ByteSink {
 public:
  Tee(ByteSink& sink, Bytes& copy) : sink_(sink), copy_(copy) {}
  Status Write(std::span<const std::byte> data) override {
    copy_.insert(copy_.end(), data.begin(), data.end());
    return sink_.Write(data);
  }
  [[nodiscard]] const std::string& name() const override { return sink_.name(); }

 private:
  ByteSink& sink_;
  Bytes& copy_;
};

struct Outcome {
  Result<CompareSummary> summary = Fail(EINVAL, "not run");
  Result<AnswerSummary> answered = Fail(EINVAL, "not run");
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  Bytes asked, replied;  // both streams
  bool failed = false;   // the other side has said why
};

VerifyHead Head(uint64_t size, uint32_t chunk_size, bool mend) {
  VerifyHead head{.what = MakeHead(chunk_size, 0, size), .mend = mend};
  head.what.base = {.none = true};
  return head;
}

Result<AnswerSummary> AnswerStream(ByteSource& source, const ContentDevice& device,
                                   ByteSink& sink) {
  ReplyWriter replies(sink);
  const auto run = [&]() -> Result<AnswerSummary> {
    if (Status s = replies.PutStatus({}); !s) return Pass(s);
    auto reader = VerifyReader::Open(source);
    if (!reader) return Pass(reader);
    return Answer(*reader, device, replies, 3);
  };
  auto answered = run();
  if (!answered) (void)replies.PutFail(answered.error());
  return answered;
}

void CompareOver(const VerifyHead& head, const ContentDevice& ours, ByteSink& sink,
                 ByteSource& source, Outcome& out) {
  VerifyWriter asks(sink, head);
  ReplyReader replies(source);
  CompareOptions options;
  options.threads = 3;
  options.differs = [&](uint64_t offset, std::span<const std::byte> content) -> Status {
    out.ranges.emplace_back(offset, content.size());
    return head.mend ? asks.Mend(offset, content) : Status();
  };
  const auto run = [&]() -> Result<CompareSummary> {
    if (auto status = replies.Next(); !status) return Pass(status);
    if (Status s = asks.Begin(); !s) return Pass(s);
    return Compare(head.what, ours, asks, replies, options);
  };
  out.summary = run();
  out.failed = replies.failed();
  if (out.summary)
    if (Status s = asks.Finish(); !s) out.summary = Pass(s);
}

// Both ends, with a pipe for each direction.
Outcome Run(const VerifyHead& head, const ContentDevice& ours, const ContentDevice& theirs) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  int there[2], back[2];
  ck_assert_int_eq(::pipe(there) | ::pipe(back), 0);
  Outcome out;
  std::thread answering([&] {
    FileSource source(Fd(there[0]), "asks");
    FdSink sink(Fd(back[1]), "replies");
    Tee tee(sink, out.replied);
    out.answered = AnswerStream(source, theirs, tee);
  });
  {
    FileSource source(Fd(back[0]), "replies");
    FdSink sink(Fd(there[1]), "asks");
    Tee tee(sink, out.asked);
    CompareOver(head, ours, tee, source, out);
  }
  answering.join();
  return out;
}

// Content by place, but for some bytes; more than a test could hold.
class Pattern : public ContentDevice {
 public:
  explicit Pattern(uint64_t size) : size_(size) {}
  Status Read(uint64_t offset, std::span<std::byte> out) const override {
    if (offset > size_ || out.size() > size_ - offset) return Fail(ERANGE, "past the end");
    for (const uint64_t place : lost)
      if (place >= offset && place - offset < out.size()) return Fail(EIO, "lost");
    for (size_t at = 0; at < out.size(); at += 512)
      std::fill_n(out.begin() + static_cast<ptrdiff_t>(at), std::min<size_t>(512, out.size() - at),
                  static_cast<std::byte>((offset + at) / 512 % 251));
    for (const uint64_t place : other)
      if (place >= offset && place - offset < out.size()) out[place - offset] ^= std::byte{1};
    // The first reader sees what nobody sees again.
    if (shaky >= offset && shaky - offset < out.size() && !seen.exchange(true))
      out[shaky - offset] ^= std::byte{1};
    return {};
  }
  Status Write(uint64_t, std::span<const std::byte>) const override { return Fail(EROFS, "write"); }
  Status Zero(uint64_t, uint64_t) const override { return Fail(EROFS, "zero"); }
  Status Flush() const override { return Fail(EROFS, "flush"); }
  uint64_t NextData(uint64_t offset) const override { return offset; }
  uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }

  std::set<uint64_t> other, lost;
  uint64_t shaky = UINT64_MAX;
  mutable std::atomic<bool> seen = false;

 private:
  uint64_t size_;
  std::string name_ = "pattern";
};

// The runs of chunks in which the places are; none is longer than a piece.
std::vector<std::pair<uint64_t, uint64_t>> Runs(const std::set<uint64_t>& places, uint64_t chunk,
                                                uint64_t size) {
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  for (const uint64_t place : places) {
    const uint64_t at = place / chunk * chunk, length = std::min(chunk, size - at);
    if (!runs.empty() && runs.back().first + runs.back().second > at) continue;
    if (!runs.empty() && runs.back().first + runs.back().second == at && at % kMiB != 0) {
      runs.back().second += length;
    } else {
      runs.emplace_back(at, length);
    }
  }
  return runs;
}

uint64_t Chunks(const std::vector<std::pair<uint64_t, uint64_t>>& runs, uint64_t chunk) {
  uint64_t chunks = 0;
  for (const auto& [offset, length] : runs) chunks += (length + chunk - 1) / chunk;
  return chunks;
}

void CheckFound(const Outcome& out, const std::set<uint64_t>& places, uint64_t chunk,
                uint64_t size) {
  CK_OK(out.summary);
  CK_OK(out.answered);
  const auto runs = Runs(places, chunk, size);
  ck_assert(out.ranges == runs);
  ck_assert_uint_eq(out.summary->compared, size);
  ck_assert_uint_eq(out.summary->different, Chunks(runs, chunk));
  ck_assert(!out.failed);
}

// Where the records of a stream are.
std::vector<std::pair<size_t, size_t>> Records(const Bytes& stream) {
  std::vector<std::pair<size_t, size_t>> records;
  for (size_t at = sizeof(RawBegin); at < stream.size();) {
    RawRecord head;
    std::memcpy(&head, stream.data() + at, sizeof head);
    const size_t end = at + sizeof head + head.body_size + head.payload_size;
    records.emplace_back(at, end);
    at = end;
  }
  return records;
}

// A snapshot, and an origin that differs from it here and there: at both ends, in neighbours, and
// in a piece of its own.
struct Damage {
  static constexpr size_t kSize = 3 * kMiB + 2 * kChunk + 512;
  Bytes good = Bytes(kSize), bad;
  Damage() {
    Random random(8);
    for (std::byte& b : good) b = static_cast<std::byte>(random());
    bad = good;
    for (const size_t place : Places()) bad[place] ^= std::byte{0x10};
  }
  static std::set<uint64_t> Places() {
    return {0, 5 * kChunk, 6 * kChunk + 1, kMiB - 1, kMiB, 2 * kMiB + 77, kSize - 1};
  }
  // Both streams of a repair, to be cut and damaged.
  [[nodiscard]] Outcome Mend() const {
    Power power;
    const FaultContent ours(good, power), theirs(bad, power);
    Outcome whole = Run(Head(kSize, kChunk, true), ours, theirs);
    CK_OK(whole.summary);
    CK_OK(whole.answered);
    return whole;
  }
  // Each chunk is the one or the other.
  void CheckWhole(const Bytes& now) const {
    for (size_t at = 0; at < kSize; at += kChunk) {
      const size_t n = std::min<size_t>(kChunk, kSize - at);
      ck_assert(std::memcmp(&now[at], &good[at], n) == 0 ||
                std::memcmp(&now[at], &bad[at], n) == 0);
    }
  }
};

Bytes ContentOf(const ContentDevice& device) {
  Bytes out(device.size());
  CK_OK(device.Read(0, out));
  return out;
}

}  // namespace

START_TEST(differences_are_found_exactly) {
  Random random(31);
  for (const uint32_t chunk : {4096u, 65536u, 1u << 20}) {
    // Of less than a chunk, of several rounds of questions, and ends of all kinds.
    for (const uint64_t size : {uint64_t{512}, kMiB, 5 * kMiB + 3 * 4096 + 512, 300 * kMiB - 512}) {
      for (const size_t count : {0, 1, 30, 700}) {
        if (size > 100 * kMiB && (count % 30 != 0 || chunk != 65536)) continue;
        const Pattern ours(size);
        Pattern theirs(size + (count % 2) * 4096);  // what it has beyond the end does not count
        for (size_t i = 0; i < count; ++i) theirs.other.insert(random() % size);
        theirs.other.insert(size);
        const auto out = Run(Head(size, chunk, false), ours, theirs);
        theirs.other.erase(size);
        CheckFound(out, theirs.other, chunk, size);
      }
    }
  }
}
END_TEST

START_TEST(what_cannot_be_read_there_differs) {
  const Pattern ours(4 * kMiB);
  Pattern theirs(4 * kMiB);
  theirs.lost = {0, 2 * kMiB + 9 * kChunk, 4 * kMiB - 1};
  theirs.other = {kMiB};
  std::set<uint64_t> all = theirs.lost;
  all.insert(theirs.other.begin(), theirs.other.end());
  CheckFound(Run(Head(4 * kMiB, kChunk, false), ours, theirs), all, kChunk, 4 * kMiB);
  CheckFound(Run(Head(4 * kMiB, kMiB, false), ours, theirs), all, kMiB, 4 * kMiB);
  // What cannot be read here is an error.
  const auto out = Run(Head(4 * kMiB, kChunk, false), theirs, ours);
  ck_assert(!out.summary && out.summary.error().code == EIO && !out.failed);
  ck_assert(!out.answered && out.answered.error().code == EBADMSG);
}
END_TEST

START_TEST(content_that_changes_is_told_from_content_that_differs) {
  const Pattern ours(4 * kMiB);
  Pattern theirs(4 * kMiB);
  theirs.shaky = 3 * kMiB + 5;
  const auto out = Run(Head(4 * kMiB, kChunk, false), ours, theirs);
  ck_assert(!out.summary && out.summary.error().code == EIO);
  ck_assert_ptr_nonnull(std::strstr(out.summary.error().text.c_str(), "each time"));
  ck_assert(out.ranges.empty());
}
END_TEST

START_TEST(what_differs_is_mended_and_nothing_else_is_written) {
  const Damage damage;
  Power power;
  const FaultContent ours(damage.good, power);
  FaultContent theirs(damage.bad, power);
  power.left = 1000;
  const auto out = Run(Head(Damage::kSize, kChunk, true), ours, theirs);
  CheckFound(out, Damage::Places(), kChunk, Damage::kSize);
  ck_assert_uint_eq(out.answered->extents, out.ranges.size());
  ck_assert_uint_eq(1000 - power.left, out.ranges.size() + 1);  // and a flush
  ck_assert(ContentOf(theirs) == damage.good);
  power.kill = false;
  ck_assert(theirs.After() == damage.good);  // durable
  const auto again = Run(Head(Damage::kSize, kChunk, false), ours, theirs);
  CheckFound(again, {}, kChunk, Damage::kSize);
  ck_assert_uint_eq(again.answered->extents, 0);
}
END_TEST

// More than pipes hold goes both ways at once.
START_TEST(everything_differs) {
  const size_t size = 40 * kMiB + 512;
  Power power;
  const FaultContent ours(Bytes(size, std::byte{'a'}), power);
  FaultContent theirs(Bytes(size + 100, std::byte{'b'}), power);
  const auto out = Run(Head(size, kChunk, true), ours, theirs);
  CK_OK(out.summary);
  CK_OK(out.answered);
  ck_assert_uint_eq(out.answered->bytes, size);
  ck_assert_uint_eq(out.summary->different, 40 * kMiB / kChunk + 1);
  Bytes expected(size, std::byte{'a'});
  expected.resize(size + 100, std::byte{'b'});
  ck_assert(ContentOf(theirs) == expected);
}
END_TEST

START_TEST(a_receiver_that_dies_anywhere_leaves_nothing_worse) {
  const Damage damage;
  for (const bool kill : {false, true}) {
    bool ended = false;
    for (uint64_t n = 0; !ended; ++n) {
      Power spare, power;
      power.left = n;
      power.kill = kill;
      const FaultContent ours(damage.good, spare);
      FaultContent theirs(damage.bad, power);
      const auto out = Run(Head(Damage::kSize, kChunk, true), ours, theirs);
      ended = out.answered.has_value();
      // A write that was cut off in the middle hits what was wrong anyway: elsewhere all is good.
      const Bytes now = theirs.After();
      for (size_t at = 0; at < Damage::kSize; ++at)
        ck_assert(now[at] == damage.good[at] || now[at] == damage.bad[at]);
      const FaultContent rest(now, spare);
      CheckFound(
          Run(Head(Damage::kSize, kChunk, true), ours, rest),
          [&] {
            std::set<uint64_t> places;
            for (size_t at = 0; at < Damage::kSize; ++at)
              if (now[at] != damage.good[at]) places.insert(at);
            return places;
          }(),
          kChunk, Damage::kSize);
      ck_assert(ContentOf(rest) == damage.good);
    }
  }
}
END_TEST

// Around the beginning and end of every record and its body, and some places between.
static std::set<size_t> Cuts(const Bytes& stream) {
  std::set<size_t> cuts = {0, 1, sizeof(RawBegin) - 1, sizeof(RawBegin)};
  for (const auto& [begin, end] : Records(stream))
    for (const size_t n : {begin + 1, begin + sizeof(RawRecord) - 1, begin + sizeof(RawRecord),
                           begin + sizeof(RawRecord) + 1, end - 1, end})
      cuts.insert(n);
  for (size_t n = 0; n < stream.size(); n += 1021) cuts.insert(n);
  while (!cuts.empty() && *cuts.rbegin() >= stream.size()) cuts.erase(*cuts.rbegin());
  return cuts;
}

START_TEST(a_link_that_is_cut_at_every_message) {
  const Damage damage;
  const Outcome whole = damage.Mend();
  Power power;
  const FaultContent ours(damage.good, power);
  for (const size_t n : Cuts(whole.asked)) {
    FaultContent theirs(damage.bad, power);
    MemorySource source(std::span(whole.asked).first(n));
    MemorySink sink;
    const auto answered = AnswerStream(source, theirs, sink);
    ck_assert_msg(!answered, "asked %zu", n);
    ck_assert_int_eq(answered.error().code, EBADMSG);
    damage.CheckWhole(ContentOf(theirs));
  }
  for (const size_t n : Cuts(whole.replied)) {
    MemorySource source(std::span(whole.replied).first(n));
    MemorySink sink;
    Outcome out;
    CompareOver(Head(Damage::kSize, kChunk, true), ours, sink, source, out);
    ck_assert_msg(!out.summary, "replied %zu", n);
    ck_assert_int_eq(out.summary.error().code, EBADMSG);
    ck_assert(!out.failed);
    // What was told of differences until then is true.
    ck_assert(out.ranges.size() <= whole.ranges.size() &&
              std::equal(out.ranges.begin(), out.ranges.end(), whole.ranges.begin()));
  }
}
END_TEST

START_TEST(a_flipped_byte_is_found) {
  const Damage damage;
  Outcome whole = damage.Mend();
  Power power;
  const FaultContent ours(damage.good, power);
  for (size_t n = 0; n < whole.asked.size(); n += 211) {
    whole.asked[n] ^= std::byte{0x21};
    FaultContent theirs(damage.bad, power);
    MemorySource source(whole.asked);
    MemorySink sink;
    ck_assert_msg(!AnswerStream(source, theirs, sink), "asked %zu", n);
    damage.CheckWhole(ContentOf(theirs));
    whole.asked[n] ^= std::byte{0x21};
  }
  for (size_t n = 0; n < whole.replied.size(); n += 37) {
    whole.replied[n] ^= std::byte{0x21};
    MemorySource source(whole.replied);
    MemorySink sink;
    Outcome out;
    CompareOver(Head(Damage::kSize, kChunk, true), ours, sink, source, out);
    ck_assert_msg(!out.summary, "replied %zu", n);
    whole.replied[n] ^= std::byte{0x21};
  }
}
END_TEST

// Records with right sums that ask for, or say, what cannot be.
START_TEST(hostile_questions_are_refused) {
  const uint64_t size = 4 * kMiB + 512;
  const SumRange bad[] = {
      {0, 0, 4096},                            // nothing
      {0, 4096, 0},                            // no unit
      {0, 4096, 2048},                         // smaller than any chunk
      {0, 12288, 12288},                       // no power of two
      {0, 2 << 20, 2 << 20},                   // larger than any piece
      {512, 4096, 4096},                       // between units
      {0, 4096 + 512, 4096},                   // ends between units
      {4 * kMiB, 4096, 4096},                  // past the end
      {4 * kMiB + 4096, 4096, 4096},           // beyond it
      {UINT64_MAX - 4095, 4096, 4096},         // the end would be 0
      {0, (kMaxSums + 1) * 4096, 4096},        // more than a record holds
      {uint64_t{1} << 63, 0xfffff000u, 4096},  // anything
  };
  Power power;
  for (const SumRange& range : bad) {
    MemorySink stream, sink;
    VerifyWriter writer(stream, Head(size, kChunk, false));
    CK_OK(writer.Begin());
    CK_OK(writer.Ask(range));
    CK_OK(writer.Finish());
    MemorySource source(stream.bytes());
    const auto answered = AnswerStream(source, Pattern(size), sink);
    ck_assert_msg(!answered, "%llu %u %u", static_cast<unsigned long long>(range.offset),
                  range.length, range.unit);
    ck_assert_int_eq(answered.error().code, EBADMSG);
  }
  // Contents where none belong, or there are none to be.
  struct Content {
    bool mend;
    uint64_t offset, length;
  };
  for (const Content& c :
       {Content{false, 0, kChunk}, Content{true, 512, kChunk}, Content{true, 4 * kMiB, kChunk},
        Content{true, UINT64_MAX - kChunk + 1, kChunk}, Content{true, 0, 100}, Content{true, 0, 0},
        Content{true, size / kChunk * kChunk + kChunk, 512}}) {
    MemorySink stream, sink;
    VerifyWriter writer(stream, Head(size, kChunk, c.mend));
    CK_OK(writer.Begin());
    CK_OK(writer.Mend(c.offset, Bytes(c.length, std::byte{'x'})));
    CK_OK(writer.Finish());
    MemorySource source(stream.bytes());
    FaultContent theirs(Bytes(size), power);
    ck_assert(!AnswerStream(source, theirs, sink));
    ck_assert(ContentOf(theirs) == Bytes(size));
  }
}
END_TEST

START_TEST(hostile_answers_are_refused) {
  const Pattern ours(4 * kMiB);
  const std::vector<Sum> sums(4);
  const auto compare = [&](const std::function<Status(ReplyWriter&)>& put) {
    MemorySink stream, sink;
    ReplyWriter writer(stream);
    CK_OK(writer.PutStatus({}));
    CK_OK(put(writer));
    MemorySource source(stream.bytes());
    Outcome out;
    CompareOver(Head(4 * kMiB, kChunk, false), ours, sink, source, out);
    ck_assert(!out.summary && out.ranges.empty());
    ck_assert_int_eq(out.summary.error().code, EBADMSG);
  };
  const SumRange right = {0, 4 * kMiB, 1 << 20};
  compare([&](ReplyWriter& w) { return w.PutSums(right, std::span(sums).first(3)); });
  compare([&](ReplyWriter& w) { return w.PutSums(right, std::vector<Sum>(5)); });
  compare([&](ReplyWriter& w) { return w.PutSums({0, 4 * kMiB, 0}, sums); });
  compare([&](ReplyWriter& w) { return w.PutSums({0, 0, 1 << 20}, {}); });
  compare([&](ReplyWriter& w) { return w.PutSums({0, 0xffffffffu, 1}, sums); });
  compare([&](ReplyWriter& w) { return w.PutSums({kMiB, 4 * kMiB, 1 << 20}, sums); });
  compare([&](ReplyWriter& w) { return w.PutSums({0, 4 * kChunk, kChunk}, sums); });
  compare([&](ReplyWriter& w) { return w.PutDone(0); });
  compare([&](ReplyWriter& w) { return w.PutAck(0); });
  compare([&](ReplyWriter& w) { return w.PutSnapshot(1, true); });
}
END_TEST

START_TEST(a_side_that_gives_up_says_why) {
  const Pattern ours(4 * kMiB), theirs(2 * kMiB);
  const auto out = Run(Head(4 * kMiB, kChunk, false), ours, theirs);
  ck_assert(!out.summary && out.failed);
}
END_TEST

UNIT_MAIN("compare", differences_are_found_exactly, what_cannot_be_read_there_differs,
          content_that_changes_is_told_from_content_that_differs,
          what_differs_is_mended_and_nothing_else_is_written, everything_differs,
          a_receiver_that_dies_anywhere_leaves_nothing_worse, a_link_that_is_cut_at_every_message,
          a_flipped_byte_is_found, hostile_questions_are_refused, hostile_answers_are_refused,
          a_side_that_gives_up_says_why)
