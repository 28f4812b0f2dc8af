// SPDX-License-Identifier: GPL-2.0
// Receiving: cut, damaged, reordered and foreign streams; receivers that are killed or lose
// power at every operation, and go on.
#include <algorithm>
#include <cerrno>

#include "journey.h"
#include "lib/fault_content.h"
#include "repl/receive_delta.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::test;
using namespace ddsnap::unit;

namespace {

ReceiveOptions Options(uint64_t window_ns) {
  ReceiveOptions options;
  options.threads = 1;
  options.window_ns = window_ns;
  return options;
}

Result<ReceiveSummary> Receive(std::span<const std::byte> stream, const ContentDevice& device,
                               ReceiveLog& log, bool file = false, uint64_t window_ns = 0) {
  MemorySource source(stream, file);
  return ReceiveDelta(source, device, log, Options(window_ns));
}

// Receives the stream and checks that the target is there.
void Arrive(std::span<const std::byte> stream, Bytes device, FaultLog& log, const Bytes& target,
            const char* what, uint64_t n, bool file = false) {
  Power power;
  log.Use(power);
  FaultContent content(std::move(device), power);
  auto summary = Receive(stream, content, log, file);
  ck_assert_msg(summary.has_value(), "%s %llu: %s", what, static_cast<unsigned long long>(n),
                summary ? "" : summary.error().text.c_str());
  Bytes now(content.size());
  CK_OK(content.Read(0, now));
  ck_assert_msg(std::ranges::equal(std::span(now).first(target.size()), target),
                "%s %llu: other content", what, static_cast<unsigned long long>(n));
  auto state = log.Load();
  CK_OK(state);
  ck_assert(*state && (*state)->complete && (*state)->position == target.size());
}

struct Cut {
  size_t begin, end;
};
// Where the records of a stream are.
std::vector<Cut> Records(const Bytes& stream) {
  std::vector<Cut> records;
  for (size_t at = sizeof(RawBegin); at < stream.size();) {
    RawRecord head;
    std::memcpy(&head, stream.data() + at, sizeof head);
    const size_t end = at + sizeof head + head.body_size + head.payload_size;
    records.push_back({at, end});
    at = end;
  }
  return records;
}

// Nothing of the device is of neither base nor target, and below the position all is the target's.
void CheckWhole(const Journey& way, const Bytes& device, FaultLog& log, bool full) {
  auto state = log.Load();
  CK_OK(state);
  const uint64_t position = *state ? (*state)->position : 0;
  ck_assert(std::equal(device.begin(), device.begin() + static_cast<ptrdiff_t>(position),
                       way.target.begin()));
  if (full) return;
  for (size_t at = 0; at < kSize; at += kChunk) {
    const size_t n = std::min<size_t>(kChunk, kSize - at);
    ck_assert(std::memcmp(&device[at], &way.base[at], n) == 0 ||
              std::memcmp(&device[at], &way.target[at], n) == 0);
  }
}

constexpr std::pair<Mode, bool> kWays[] = {{Mode::kRaw, false},
                                           {Mode::kDiff, false},
                                           {Mode::kBest, false},
                                           {Mode::kBest, true},
                                           {Mode::kRaw, true}};

}  // namespace

START_TEST(arrives_in_every_mode) {
  const Journey way;
  for (const auto& [mode, full] : kWays) {
    for (const bool file : {false, true}) {
      Power power;
      FaultLog log(power);
      Bytes device = full ? Bytes(kSize + 700, std::byte{0xee}) : way.base;
      Arrive(way.Make(mode, full), device, log, way.target, "mode", 0, file);
    }
  }
}
END_TEST

START_TEST(a_stream_cut_at_every_byte_goes_on) {
  const Journey way;
  for (const auto& [mode, full] : kWays) {
    const Bytes stream = way.Make(mode, full);
    const auto records = Records(stream);
    for (size_t n = 0; n < stream.size();) {
      Power power;
      FaultLog log(power);
      FaultContent device(full ? Bytes(kSize, std::byte{0xee}) : way.base, power);
      auto summary = Receive(std::span(stream).first(n), device, log, false,
                             n % 2 == 0 ? 0 : 1'000'000'000'000);
      ck_assert(!summary);
      ck_assert_int_eq(summary.error().code, EBADMSG);
      const Bytes now = ContentOf(device);
      CheckWhole(way, now, log, full);
      Arrive(stream, now, log, way.target, "cut at", n);
      // Every byte of the heads and bodies, and some of long payloads.
      const bool near = std::ranges::any_of(
          records, [n](const Cut& r) { return n + 4 > r.begin && n < r.begin + 140; });
      n += near ? 1 : 211;
    }
  }
}
END_TEST

START_TEST(a_flipped_byte_is_found_before_it_is_written) {
  const Journey way;
  for (const auto& [mode, full] : kWays) {
    Bytes stream = way.Make(mode, full);
    const Bytes good = stream;
    for (size_t n = 0; n < stream.size(); n += n % 1024 < 200 ? 3 : 97) {
      stream[n] ^= std::byte{0x21};
      Power power;
      FaultLog log(power);
      FaultContent device(full ? Bytes(kSize, std::byte{0xee}) : way.base, power);
      ck_assert_msg(!Receive(stream, device, log), "byte %zu", n);
      const Bytes now = ContentOf(device);
      CheckWhole(way, now, log, full);
      stream[n] ^= std::byte{0x21};
      // And from a file: not a byte was written.
      FaultContent untouched(way.base, power);
      FaultLog other(power);
      stream[n] ^= std::byte{0x21};
      ck_assert(!Receive(stream, untouched, other, true));
      ck_assert(ContentOf(untouched) == way.base && other.text.empty());
      stream[n] ^= std::byte{0x21};
      // What damage changes is the receiver's state: the good stream goes on from there.
      Arrive(good, now, log, way.target, "flipped", n);
    }
  }
}
END_TEST

START_TEST(records_lost_repeated_and_swapped_are_refused) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kBest, false);
  const auto records = Records(stream);
  ck_assert_uint_gt(records.size(), 5);
  const auto build = [&](const std::vector<size_t>& order) {
    Bytes out(stream.begin(), stream.begin() + sizeof(RawBegin));
    for (const size_t i : order) {
      out.insert(out.end(), stream.begin() + static_cast<ptrdiff_t>(records[i].begin),
                 stream.begin() + static_cast<ptrdiff_t>(records[i].end));
    }
    return out;
  };
  std::vector<size_t> order(records.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<Bytes> wrong;
  for (size_t i = 0; i < order.size(); ++i) {
    auto lost = order, twice = order, swapped = order;
    lost.erase(lost.begin() + static_cast<ptrdiff_t>(i));
    twice.insert(twice.begin() + static_cast<ptrdiff_t>(i), i);
    wrong.push_back(build(lost));
    wrong.push_back(build(twice));
    if (i + 1 < order.size()) {
      std::swap(swapped[i], swapped[i + 1]);
      wrong.push_back(build(swapped));
    }
  }
  for (size_t i = 0; i < wrong.size(); ++i) {
    Power power;
    FaultLog log(power);
    FaultContent device(way.base, power);
    ck_assert_msg(!Receive(wrong[i], device, log), "%zu", i);
    CheckWhole(way, ContentOf(device), log, false);
    Arrive(stream, ContentOf(device), log, way.target, "order", i);
  }
}
END_TEST

// The receiver stops at every one of its operations, is resumed, perhaps stopped again, and so on.
static void Stop(bool kill) {
  const Journey way;
  Random random(kill ? 3 : 4);
  for (const auto& [mode, full] : kWays) {
    const Bytes stream = way.Make(mode, full);
    bool ended = false;
    for (uint64_t n = 0; !ended; ++n) {
      for (unsigned variant = 0; variant < 6; ++variant) {
        Bytes device = full ? Bytes(kSize, std::byte{0xee}) : way.base;
        Power first;
        FaultLog log(first);
        Bytes again = stream;
        for (int stop = 0; stop < 3; ++stop) {
          Power power;
          power.kill = kill;
          power.random.seed(n * 31 + variant);
          power.left = stop == 0 ? n : random() % 12;
          log.Use(power);
          FaultContent content(device, power);
          auto summary =
              Receive(again, content, log, variant % 2 == 1, variant < 4 ? 0 : 1'000'000'000'000);
          if (stop == 0) ended = summary.has_value();
          if (summary) break;
          ck_assert_msg(summary.error().text.find("power") != std::string::npos,
                        "n %llu variant %u: %s", static_cast<unsigned long long>(n), variant,
                        summary.error().text.c_str());
          device = content.After();
          const auto state = log.Load();
          if (*state && (*state)->complete) break;  // saved, though the answer was lost
          // Resumed with a token, in another mode.
          if (*state && variant % 3 == 2) {
            const auto token = TokenOf(**state);
            again = way.Make(full                ? mode
                             : random() % 2 == 0 ? Mode::kDiff
                                                 : Mode::kRaw,
                             full, token.position, token.limit);
          }
        }
        const auto state = log.Load();
        if (*state && (*state)->complete) continue;
        Arrive(again, device, log, way.target, "stopped at", n, variant % 2 == 1);
      }
    }
  }
}

START_TEST(a_receiver_killed_anywhere_goes_on) { Stop(true); }
END_TEST
START_TEST(a_receiver_that_loses_power_anywhere_goes_on) { Stop(false); }
END_TEST

START_TEST(other_streams_are_refused) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kBest, false);
  Power power;
  FaultLog log(power);
  FaultContent device(way.base, power);
  const auto cut = Records(stream)[3].begin;
  ck_assert(!Receive(std::span(stream).first(cut), device, log));
  const std::string partial = log.text;
  // Another target, another volume, one from too far on.
  for (int kind = 0; kind < 3; ++kind) {
    Journey other = way;
    if (kind == 0) other.head.target.epoch = 9;
    if (kind == 1) other.head.volume[0] ^= 1;
    other.list = MakeChangelist(other.head, {{1, 2}, {5, 1}, {7, 1}, {9, 1}, {12, 1}});
    const Bytes refused = other.Make(Mode::kRaw, false, kind == 2 ? 9 * kChunk : 0);
    auto summary = Receive(refused, device, log);
    ck_assert(!summary);
    ck_assert_int_eq(summary.error().code, kind == 2 ? ESTALE : EBUSY);
    ck_assert(log.text == partial);
  }
  CK_OK(Receive(stream, device, log));
  // A replay, a stream from an older base, a foreign one, one that is resumed.
  auto replay = Receive(stream, device, log);
  ck_assert(!replay);
  ck_assert_int_eq(replay.error().code, EALREADY);
  for (int kind = 0; kind < 3; ++kind) {
    Journey other = way;
    other.head.target.epoch = 9;
    if (kind == 1) other.head.volume[0] ^= 1;
    if (kind == 2) other.head.base.epoch = 5;
    other.list = MakeChangelist(other.head, {{1, 2}});
    auto summary = Receive(other.Make(Mode::kRaw, false, kind == 2 ? 4096 : 0), device, log);
    ck_assert(!summary);
    ck_assert_int_eq(summary.error().code, ESTALE);
  }
  ck_assert(ContentOf(device) == way.target);
  // The next one of the chain, and a full one of the same volume.
  Journey next = way;
  next.base = next.target;
  next.target[3 * kChunk] ^= std::byte{1};
  next.head.base = next.head.target;
  next.head.target.epoch = 9;
  next.list = MakeChangelist(next.head, {{3, 1}});
  CK_OK(Receive(next.Make(Mode::kBest, false), device, log));
  ck_assert(ContentOf(device) == next.target);
  next.head.target.epoch = 11;
  CK_OK(Receive(next.Make(Mode::kBest, true), device, log));
}
END_TEST

START_TEST(another_device_is_left_alone) {
  const Journey way;
  Bytes other = way.base;
  other[kChunk + 70] ^= std::byte{1};  // in the first extent
  Power power;
  FaultLog log(power);
  FaultContent device(other, power);
  auto summary = Receive(way.Make(Mode::kBest, false), device, log);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, ESTALE);
  ck_assert(ContentOf(device) == other && log.text.empty());
  FaultContent small(Bytes(kSize - 1), power);
  summary = Receive(way.Make(Mode::kBest, true), small, log);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, ENOSPC);
}
END_TEST

START_TEST(a_device_that_was_reverted_starts_over) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kBest, false);
  Power power;
  FaultLog log(power);
  FaultContent device(way.base, power);
  ck_assert(!Receive(std::span(stream).first(Records(stream)[4].begin), device, log));
  const auto token = TokenOf(**log.Load());
  ck_assert_uint_gt(token.position, 0);
  FaultContent reverted(way.base, power);
  auto resumed = Receive(way.Make(Mode::kBest, false, token.position, token.limit), reverted, log);
  ck_assert(!resumed);
  ck_assert_int_eq(resumed.error().code, ESTALE);
  Arrive(stream, way.base, log, way.target, "reverted", 0);
}
END_TEST

START_TEST(snapshots_are_made_around_a_receive) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kBest, false);
  Power power;
  FaultLog log(power);
  FaultContent device(way.base, power);
  std::string story;
  ReceiveOptions options = Options(0);
  options.before = [&](const DeltaHead&) -> Result<std::optional<Tag>> {
    ck_assert(ContentOf(device) == way.base);
    story += "before ";
    return Tag{77};
  };
  options.acknowledged = [&](uint64_t position) -> Status {
    const Bytes now = ContentOf(device);
    ck_assert(std::equal(now.begin(), now.begin() + static_cast<ptrdiff_t>(position),
                         way.target.begin()));
    story += "a";
    return {};
  };
  bool fail = true;
  options.completed = [&](const DeltaHead&) -> Result<std::optional<Tag>> {
    ck_assert(ContentOf(device) == way.target);
    story += " completed ";
    if (fail) return Fail(EIO, "no snapshot");
    return Tag{78};
  };
  MemorySource source(stream, false);
  ck_assert(!ReceiveDelta(source, device, log, options));
  ck_assert((*log.Load())->before == std::optional<Tag>(77));
  ck_assert(!(*log.Load())->complete);
  fail = false;
  MemorySource again(stream, false);
  CK_OK(ReceiveDelta(again, device, log, options));
  ck_assert_msg(story == "before aaaaa completed  completed ", "%s", story.c_str());
  ck_assert((*log.Load())->complete);
  ck_assert((*log.Load())->after == std::optional<Tag>(78));
}
END_TEST

START_TEST(a_sparse_volume_of_terabytes_goes_over_whole) {
  const uint64_t size = (uint64_t{3} << 40) + kChunk;
  const TempFile from, to;
  from.Resize(size);
  to.Resize(size + 512);
  Random random(9);
  Bytes data(3 * kChunk);
  for (std::byte& b : data) b = static_cast<std::byte>(random());
  const uint64_t places[] = {0, uint64_t{5} << 39, size - 3 * kChunk};
  {
    const auto device = from.Open(true);
    for (const uint64_t place : places) CK_OK(device->Write(place, data));
    // What the receiver has to make zero.
    CK_OK(to.Open(true)->Write(uint64_t{1} << 40, data));
  }
  MemorySink sink;
  auto created = CreateFullDelta(MakeHead(kChunk, 0, size), *from.Open(false), sink, {});
  CK_OK(created);
  ck_assert_uint_lt(sink.bytes().size(), 100000);
  Power power;
  FaultLog log(power);
  const auto device = to.Open(true);
  CK_OK(Receive(sink.bytes(), *device, log, false, 1'000'000'000));
  Bytes back(data.size());
  for (const uint64_t place : places) {
    CK_OK(device->Read(place, back));
    ck_assert(back == data);
  }
  CK_OK(device->Read(uint64_t{1} << 40, back));
  ck_assert(back == Bytes(data.size()));
  ck_assert_uint_eq(device->NextData(3 * kChunk), places[1]);
}
END_TEST

START_TEST(states_and_tokens_are_read_as_they_were_written) {
  ReceiveState state;
  state.device = "/dev/mapper/\xff odd";
  state.what = MakeHead(kChunk, 0, 1 << 20);
  state.what.base = {.none = true};
  state.position = uint64_t{1} << 62;
  state.limit = state.position + 5;
  state.last = {uint64_t{7} << 40, 4096, Checksum(std::span<const std::byte>())};
  state.before = 4;
  state.after = 5;
  std::string text = FormatState(state);
  auto back = ParseState(text);
  CK_OK(back);
  back->device = state.device;  // made UTF-8
  ck_assert(*back == state);
  for (size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<char>(text[i] ^ 1);
    auto damaged = ParseState(text);
    ck_assert_msg(!damaged || FormatState(*damaged) == FormatState(*back), "byte %zu", i);
    text[i] = static_cast<char>(text[i] ^ 1);
  }
  const auto token = TokenOf(state);
  ck_assert(*ParseToken(FormatToken(token)) == token);
  for (const char* bad : {"", "ddresume1", "ddresume1:x:-:1:2:3", "ddresume2:::::"}) {
    ck_assert(!ParseToken(bad));
  }
}
END_TEST

UNIT_MAIN("receive", arrives_in_every_mode, a_stream_cut_at_every_byte_goes_on,
          a_flipped_byte_is_found_before_it_is_written,
          records_lost_repeated_and_swapped_are_refused, a_receiver_killed_anywhere_goes_on,
          a_receiver_that_loses_power_anywhere_goes_on, other_streams_are_refused,
          another_device_is_left_alone, a_device_that_was_reverted_starts_over,
          snapshots_are_made_around_a_receive, a_sparse_volume_of_terabytes_goes_over_whole,
          states_and_tokens_are_read_as_they_were_written)
