// SPDX-License-Identifier: GPL-2.0
// Streams whose base is a bookmark: taken where a downstream snapshot vouches for the
// device, and nowhere else.
#include <cerrno>
#include <map>

#include "journey.h"
#include "lib/fault_content.h"
#include "repl/receive_delta.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::test;
using namespace ddsnap::unit;

namespace {

// A downstream volume: its device, its snapshots, and what is known of it.
struct Downstream {
  explicit Downstream(const Bytes& content) : device(content), log(calm) {}
  Downstream(const Downstream& other)
      : device(other.device), log(calm), snapshots(other.snapshots) {
    log.text = other.log.text;
    log.redo = other.log.redo;
  }

  // As a receive of the stream's base has left it, with a snapshot of it.
  void Received(const Journey& way) {
    ReceiveState state;
    state.complete = true;
    state.what = way.head;
    state.what.target = way.head.base;
    state.what.base = {.epoch = 1, .tag = 9, .size = kSize};
    state.position = state.limit = kSize;
    state.after = Tag{7};
    CK_OK(log.Save(state));
    snapshots[7] = device;
  }

  // One run of the receiver, until the power goes if it does.
  Result<ReceiveSummary> Receive(std::span<const std::byte> stream, Power& power,
                                 uint64_t window_ns = 0, bool vouching = true) {
    log.Use(power);
    FaultContent content(device, power);
    ReceiveOptions options;
    options.threads = 1;
    options.window_ns = window_ns;
    const auto same = [&](Tag tag, uint64_t from) {
      const Bytes now = ContentOf(content);
      const auto it = snapshots.find(tag);
      return it != snapshots.end() &&
             std::equal(now.begin() + static_cast<ptrdiff_t>(from), now.end(),
                        it->second.begin() + static_cast<ptrdiff_t>(from));
    };
    const auto take = [&]() -> std::optional<LocalSnapshot> {
      const Tag newest = snapshots.empty() ? 0 : snapshots.rbegin()->first;
      if (!snapshots.empty() && same(newest, 0)) return newest;
      snapshots[newest + 1] = ContentOf(content);
      return newest + 1;
    };
    options.before = [&](const DeltaHead&) -> Result<std::optional<LocalSnapshot>> {
      return take();
    };
    options.completed = [&](const DeltaHead&) -> Result<std::optional<LocalSnapshot>> {
      return take();
    };
    if (vouching)
      options.same_as = [&](const LocalSnapshot& snapshot, uint64_t from) -> Result<bool> {
        if (unreadable) return Fail(EIO, "the snapshot cannot be read");
        if (!snapshots.contains(snapshot.tag)) return Fail(ESTALE, "the snapshot is gone");
        return same(snapshot.tag, from);
      };
    MemorySource source(stream, false);
    auto summary = ReceiveDelta(source, content, log, options);
    device = summary ? ContentOf(content) : content.After();
    return summary;
  }
  Result<ReceiveSummary> Receive(std::span<const std::byte> stream) {
    Power power;
    return Receive(stream, power);
  }
  [[nodiscard]] ReceiveState State() { return **log.Load(); }
  void Note(const ReceiveState& state) {
    log.Use(calm);
    CK_OK(log.Save(state));
  }

  Power calm;
  Bytes device;
  FaultLog log;
  std::map<Tag, Bytes> snapshots;
  bool unreadable = false;
};

void Refused(Downstream& down, std::span<const std::byte> stream, const char* why) {
  const Bytes before = down.device;
  const std::string known = down.log.text;
  auto summary = down.Receive(stream);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, ESTALE);
  ck_assert_msg(summary.error().text.find(why) != std::string::npos, "%s",
                summary.error().text.c_str());
  ck_assert(down.device == before && down.log.text == known);
}

// Receives until the first window is there, and the second is not.
void Half(Downstream& down, std::span<const std::byte> stream, bool vouched = true) {
  Power power;
  power.kill = true;
  power.left = 7;
  ck_assert(!down.Receive(stream, power));
  const ReceiveState state = down.State();
  ck_assert(!state.complete && state.position > 0 && state.position < kSize);
  ck_assert(state.vouched == vouched);
}

// As `zumastor receive --abort` leaves it where the power goes after the revert, and before that is
// noted.
void RevertedUnnoted(Downstream& down) {
  ReceiveState state = down.State();
  down.device = down.snapshots[state.before->tag];
  state.position = state.limit = 0;
  state.last = {.offset = 0, .length = 512, .sum = {}};
  down.Note(state);
}

}  // namespace

START_TEST(it_arrives_where_a_snapshot_vouches) {
  const Journey way;
  for (const Mode mode : {Mode::kRaw, Mode::kDiff, Mode::kBest}) {
    Downstream down(way.base);
    down.Received(way);
    CK_OK(down.Receive(way.MakeWithoutBase(mode)));
    ck_assert(down.device == way.target);
    ck_assert(down.State().complete && down.State().after);
    ck_assert(down.snapshots[down.State().after->tag] == way.target);
    // And the next one of the chain, from a bookmark as well.
    Journey next = way;
    next.base = next.target;
    next.target[3 * kChunk] ^= std::byte{1};
    next.head.base = next.head.target;
    next.head.target.epoch = 9;
    next.list = MakeChangelist(next.head, {{3, 1}});
    CK_OK(down.Receive(next.MakeWithoutBase(mode)));
    ck_assert(down.device == next.target);
  }
}
END_TEST

START_TEST(nobody_vouches_for_a_device_that_is_not_known) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kBest);
  Downstream nothing(way.base);
  Refused(nothing, stream, "is not known to hold");
  Downstream plain(way.base);
  plain.Received(way);
  Power power;
  auto summary = plain.Receive(stream, power, 0, /*vouching=*/false);
  ck_assert(!summary && summary.error().text.find("--server") != std::string::npos);
  ck_assert(plain.device == way.base);
  Downstream changed(way.base);
  changed.Received(way);
  changed.device[3 * kChunk] ^= std::byte{1};  // in no extent: no sum would have told
  Refused(changed, stream, "revert it to that one");
  changed.device = way.base;
  changed.snapshots.clear();
  Refused(changed, stream, "is gone");
  Downstream other(way.base);
  other.Received(way);
  Journey later = way;
  later.head.base.epoch = 4;
  later.list = MakeChangelist(later.head, {{1, 1}});
  Refused(other, later.MakeWithoutBase(Mode::kBest), "its base is");
}
END_TEST

START_TEST(a_device_that_was_reverted_starts_over) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kRaw);
  Downstream down(way.base);
  down.Received(way);
  Half(down, stream);
  const uint64_t position = down.State().position;
  down.device = down.snapshots[down.State().before->tag];
  auto rest = down.Receive(way.MakeWithoutBase(Mode::kRaw, position));
  ck_assert(!rest && rest.error().text.find("send the whole stream") != std::string::npos);
  // So that who asks where to go on hears it.
  ck_assert_uint_eq(down.State().position, 0);
  CK_OK(down.Receive(way.MakeWithoutBase(Mode::kRaw, down.State().position)));
  ck_assert(down.device == way.target);
}
END_TEST

START_TEST(a_device_that_was_changed_meanwhile_is_refused) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kRaw);
  for (const bool above : {false, true}) {
    Downstream down(way.base);
    down.Received(way);
    Half(down, stream);
    const ReceiveState state = down.State();
    const Bytes good = down.device;
    const uint64_t at = above ? 11 * kChunk : state.last->offset;
    ck_assert(!above || at >= state.limit);
    down.device[at] ^= std::byte{0x80};
    Refused(down, stream, "revert it to snapshot 7");
    Refused(down, way.MakeWithoutBase(Mode::kRaw, state.position), "revert it to snapshot 7");
    down.device = good;
    CK_OK(down.Receive(way.MakeWithoutBase(Mode::kRaw, state.position)));
    ck_assert(down.device == way.target);
  }
}
END_TEST

START_TEST(the_rest_of_a_stream_with_sums_may_come_without) {
  const Journey way;
  for (const Mode mode : {Mode::kRaw, Mode::kDiff}) {
    Downstream down(way.base);
    down.Received(way);
    Half(down, way.Make(mode, false));
    CK_OK(down.Receive(way.MakeWithoutBase(mode, down.State().position)));
    ck_assert(down.device == way.target);
    // Where nothing vouched for the device when it began, it may not.
    Downstream other(way.base);
    Half(other, way.Make(mode, false), /*vouched=*/false);
    Refused(other, way.MakeWithoutBase(mode), "no snapshot vouches");
    CK_OK(other.Receive(way.Make(mode, false)));
  }
}
END_TEST

// No extent is there that would tell.
START_TEST(a_device_that_was_changed_meanwhile_is_refused_with_sums_too) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kBest, false);
  for (const bool vouched : {false, true}) {
    Downstream down(way.base);
    if (vouched) down.Received(way);
    Half(down, stream, vouched);
    const ReceiveState state = down.State();
    const Bytes good = down.device;
    down.device[11 * kChunk] ^= std::byte{0x80};
    ck_assert_uint_ge(11 * kChunk, state.limit);
    const Bytes rest = way.Make(Mode::kBest, false, state.position, state.limit);
    Refused(down, stream, "has changed since a part was received: revert it");
    Refused(down, rest, "has changed since a part was received: revert it");
    // Who cannot tell does not refuse.
    Downstream other = down;
    other.snapshots.clear();
    other.device = good;
    CK_OK(other.Receive(rest));
    ck_assert(other.device == way.target);
    down.device = down.snapshots[state.before->tag];
    CK_OK(down.Receive(stream));
    ck_assert(down.device == way.target);
  }
}
END_TEST

START_TEST(a_device_that_was_reverted_is_vouched_for_as_before) {
  const Journey way;
  for (const bool sums : {true, false}) {
    Downstream down(way.base);
    down.Received(way);
    Half(down, way.Make(Mode::kDiff, false));
    RevertedUnnoted(down);
    Half(down, sums ? way.Make(Mode::kDiff, false) : way.MakeWithoutBase(Mode::kDiff));
    CK_OK(down.Receive(way.MakeWithoutBase(Mode::kDiff, down.State().position)));
    ck_assert(down.device == way.target);
  }
  // Nothing had been written that could be reverted.
  Downstream down(way.base);
  down.Received(way);
  Half(down, way.Make(Mode::kDiff, false));
  RevertedUnnoted(down);
  ReceiveState state = down.State();
  state.written = false;
  down.Note(state);
  CK_OK(down.Receive(way.MakeWithoutBase(Mode::kDiff)));
  ck_assert(down.device == way.target);
  // What is there now is something else.
  Downstream changed(way.base);
  changed.Received(way);
  Half(changed, way.Make(Mode::kDiff, false));
  RevertedUnnoted(changed);
  changed.device[11 * kChunk] ^= std::byte{0x80};
  Half(changed, way.Make(Mode::kDiff, false), /*vouched=*/false);
}
END_TEST

// A stream with sums left out what the base was made while it was sent.  What comes after it is
// whole, and without sums: nothing of it is passed over, wherever either is cut off.
static void WriteBase(size_t chunk, Mode mode, bool kill) {
  const Journey way;
  const Bytes cut = way.WithWrittenBase(chunk).WithWrittenBase(7).Make(mode, false);
  const Bytes whole = way.MakeWithoutBase(mode);
  const auto reached = [&](const Downstream& down, uint64_t position) {
    return std::equal(way.target.begin(), way.target.begin() + static_cast<ptrdiff_t>(position),
                      down.device.begin());
  };
  bool arrived = false;
  for (uint64_t n = 3; !arrived; ++n) {
    Downstream part(way.base);
    part.Received(way);
    Power power;
    power.kill = true;
    power.left = n;
    auto summary = part.Receive(std::span(cut).first(cut.size() - 1), power);
    ck_assert(!summary && !part.State().complete);
    arrived = summary.error().text.find("power") == std::string::npos;
    const uint64_t position = part.State().position;
    bool ended = false;
    for (uint64_t m = 0; !ended; ++m) {
      Downstream down(part);
      Power again;
      again.kill = kill;
      again.random.seed(m);
      again.left = m;
      ended = down.Receive(whole, again).has_value();
      const ReceiveState state = down.State();
      // Nothing was written below a position that still counts; and one that counts is of this
      // stream.
      const auto below = static_cast<ptrdiff_t>(position);
      if (!std::equal(part.device.begin(), part.device.begin() + below, down.device.begin()))
        ck_assert(reached(down, state.position));
      Downstream other(down);
      if (!state.complete) CK_OK(other.Receive(whole));
      ck_assert(reached(other, kSize));
      if (state.complete || state.position == position) continue;
      CK_OK(down.Receive(way.MakeWithoutBase(mode, state.position)));
      ck_assert(reached(down, kSize));
    }
  }
}

// Whoever is killed between writing and saying so finds it there already.
START_TEST(what_was_written_first_is_known_though_it_was_there) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kRaw, false);
  Downstream whole(way.base);
  whole.Received(way);
  Half(whole, stream);
  const uint64_t lowest = whole.State().first->offset;
  unsigned seen = 0;
  for (uint64_t n = 1;; ++n) {
    Downstream down(way.base);
    down.Received(way);
    Power power;
    power.kill = true;
    power.left = n;
    if (down.Receive(stream, power)) break;
    if (down.State().complete && down.State().what.base == way.head.base) break;
    for (uint64_t m = 1;; ++m) {
      Downstream next(down);
      Power again;
      again.kill = true;
      again.left = m;
      if (next.Receive(stream, again)) break;
      const ReceiveState state = next.State();
      if (state.position <= lowest) continue;
      ck_assert(state.first && state.first->offset == lowest);
      ++seen;
    }
  }
  ck_assert_uint_gt(seen, 10);
}
END_TEST

// That a snapshot cannot be asked just now is no leave to go on without.
START_TEST(a_snapshot_that_does_not_answer_is_asked_again) {
  const Journey way;
  const Bytes stream = way.Make(Mode::kRaw, false);
  Downstream down(way.base);
  down.Received(way);
  Half(down, stream);
  const ReceiveState known = down.State();
  down.unreadable = true;
  auto summary = down.Receive(stream);
  ck_assert(!summary);
  ck_assert_int_eq(summary.error().code, EIO);
  ck_assert_uint_eq(down.State().position, known.position);
  down.unreadable = false;
  CK_OK(down.Receive(stream));
  ck_assert(down.device == way.target);
}
END_TEST

START_TEST(what_a_written_base_had_left_out_comes_again) {
  for (const size_t chunk : {1, 2, 5, 9})
    for (const Mode mode : {Mode::kRaw, Mode::kDiff})
      for (const bool kill : {false, true}) WriteBase(chunk, mode, kill);
}
END_TEST

// The part that came again lies below what was written first: it is the first by now.
START_TEST(a_revert_that_was_given_up_below_what_came_again_is_noticed) {
  const Journey way;
  Downstream down(way.base);
  down.Received(way);
  Half(down, way.WithWrittenBase(1).Make(Mode::kRaw, false));
  ck_assert_uint_eq(down.State().first->offset, 2 * kChunk);
  Half(down, way.MakeWithoutBase(Mode::kRaw));
  ck_assert_uint_eq(down.State().first->offset, kChunk);
  std::copy_n(way.base.begin() + kChunk, kChunk, down.device.begin() + kChunk);
  Refused(down, way.MakeWithoutBase(Mode::kRaw, down.State().position), "has changed since");
}
END_TEST

// It stops at every one of its operations, is resumed, perhaps reverted, perhaps stopped again.
static void Stop(bool kill) {
  const Journey way;
  Random random(kill ? 3 : 4);
  const Bytes stream = way.MakeWithoutBase(Mode::kBest);
  bool ended = false;
  for (uint64_t n = 0; !ended; ++n) {
    for (unsigned variant = 0; variant < 8; ++variant) {
      Downstream down(way.base);
      down.Received(way);
      bool reverted = false;
      for (int stop = 0; stop < 3; ++stop) {
        Power power;
        power.kill = kill;
        power.random.seed(n * 31 + variant);
        power.left = stop == 0 ? n : random() % 12;
        auto summary = down.Receive(stream, power, variant < 4 ? 0 : 1'000'000'000'000);
        if (stop == 0) ended = summary.has_value();
        // The last write of the state may have come through although the power went.
        if (summary || (down.State().complete && down.State().what.target == way.head.target))
          break;
        ck_assert_msg(summary.error().text.find("power") != std::string::npos, "n %llu: %s",
                      static_cast<unsigned long long>(n), summary.error().text.c_str());
        const ReceiveState state = down.State();
        const uint64_t there = state.complete || reverted ? 0 : state.position;
        ck_assert(std::equal(down.device.begin(),
                             down.device.begin() + static_cast<ptrdiff_t>(there),
                             way.target.begin()));
        reverted = variant % 4 == 3 && !state.complete && state.before;
        if (reverted) down.device = down.snapshots[state.before->tag];
      }
      const ReceiveState known = down.State();
      if (known.complete && known.what.target == way.head.target) {
        ck_assert(down.device == way.target);
        continue;
      }
      auto summary = down.Receive(stream);
      ck_assert_msg(summary.has_value(), "n %llu variant %u: %s",
                    static_cast<unsigned long long>(n), variant,
                    summary ? "" : summary.error().text.c_str());
      ck_assert(down.device == way.target);
    }
  }
}

START_TEST(a_receiver_killed_anywhere_goes_on) { Stop(true); }
END_TEST
START_TEST(a_receiver_that_loses_power_anywhere_goes_on) { Stop(false); }
END_TEST

START_TEST(no_device_can_be_compared_with_it) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kDiff);
  const TempFile device(way.base);
  for (const bool rewindable : {true, false}) {
    auto applied = Apply(stream, device, rewindable);
    ck_assert(!applied && applied.error().code == ENOTSUP);
  }
  ck_assert(device.Content() == way.base);
  MemorySource source(stream);
  auto verified = VerifyDelta(source, nullptr, {});
  CK_OK(verified);
  ck_assert(!verified->head.base_sums);
  MemorySource again(stream);
  verified = VerifyDelta(again, device.Open(false).get(), {});
  ck_assert(!verified && verified.error().code == ENOTSUP);
  ck_assert(verified.error().text.find("no base sums") != std::string::npos);
}
END_TEST

START_TEST(a_reader_that_does_not_know_the_feature_refuses) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kRaw);
  ck_assert_uint_eq(std::to_integer<unsigned>(stream[12]), kNoBaseSums);
  // A changelist knows none.
  Bytes list = way.list;
  list[12] = std::byte{1};
  MemorySource source(list);
  auto read = ChangelistReader::Open(source);
  ck_assert(!read && read.error().code == ENOTSUP);
  // The feature is part of what is summed: it cannot get lost.
  Bytes lost = stream;
  lost[12] = std::byte{0};
  MemorySource damaged(lost);
  ck_assert(!DeltaReader::Open(damaged));
}
END_TEST

START_TEST(extents_with_a_base_are_refused) {
  const Journey way;
  for (int kind = 0; kind < 3; ++kind) {
    MemorySink sink;
    DeltaHead head{.common = way.head, .base_sums = false};
    if (kind == 2) head.common.base = {.none = true};
    DeltaWriter writer(sink, head);
    Extent extent{.offset = 0, .length = kChunk, .base_length = kChunk, .kind = Extent::Kind::kRaw};
    if (kind == 0) extent.base_sum[3] = 1;
    if (kind == 1) extent.kind = Extent::Kind::kDiff;
    CK_OK(writer.Begin());
    CK_OK(writer.Add(extent, Bytes(kind == 1 ? 10 : kChunk)));
    CK_OK(writer.Finish());
    MemorySource source(sink.bytes());
    auto reader = DeltaReader::Open(source);
    ck_assert(reader.has_value() == (kind != 2));
    if (!reader) continue;
    Record record;
    auto more = reader->Next(&extent, &record);
    ck_assert(!more && more.error().code == EBADMSG);
  }
}
END_TEST

// It goes upwards, and has not reached what was written last.
START_TEST(a_revert_that_was_given_up_half_way_is_noticed) {
  const Journey way;
  const Bytes stream = way.MakeWithoutBase(Mode::kRaw);
  Downstream down(way.base);
  down.Received(way);
  Half(down, stream);
  ck_assert(down.State().first && down.State().last);
  const ReceiveState::Written first = *down.State().first;
  ck_assert(first.offset != down.State().last->offset);
  std::copy_n(way.base.begin() + static_cast<ptrdiff_t>(first.offset), first.length,
              down.device.begin() + static_cast<ptrdiff_t>(first.offset));
  Refused(down, stream, "has changed since a part was received");
  Refused(down, way.MakeWithoutBase(Mode::kRaw, down.State().position), "has changed since");
}
END_TEST

UNIT_MAIN("receive_bookmark", a_revert_that_was_given_up_half_way_is_noticed,
          it_arrives_where_a_snapshot_vouches, nobody_vouches_for_a_device_that_is_not_known,
          a_device_that_was_reverted_starts_over, a_device_that_was_changed_meanwhile_is_refused,
          a_device_that_was_changed_meanwhile_is_refused_with_sums_too,
          a_device_that_was_reverted_is_vouched_for_as_before,
          what_a_written_base_had_left_out_comes_again,
          what_was_written_first_is_known_though_it_was_there,
          a_snapshot_that_does_not_answer_is_asked_again,
          a_revert_that_was_given_up_below_what_came_again_is_noticed,
          the_rest_of_a_stream_with_sums_may_come_without, a_receiver_killed_anywhere_goes_on,
          a_receiver_that_loses_power_anywhere_goes_on, no_device_can_be_compared_with_it,
          a_reader_that_does_not_know_the_feature_refuses, extents_with_a_base_are_refused)
