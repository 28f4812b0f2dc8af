// SPDX-License-Identifier: GPL-2.0
#include "repl/receive_delta.h"

#include <cerrno>
#include <string>

#include "base/uuid.h"
#include "repl/extent_work.h"
#include "repl/ordered_work.h"
#include "repl/receive_window.h"

namespace ddsnap::repl {
namespace {

std::string Name(const SnapshotId& id) {
  return Describe(id) + (id.epoch != 0 ? " (epoch " + std::to_string(id.epoch) + ")" : "");
}

// Whether the stream fits what is known of the device, by the table of
// doc/delta-format.md.  True: it continues a partial receive.
Result<bool> Judge(const std::optional<ReceiveState>& state, const DeltaHead& head,
                   const std::string& delta, const std::string& device) {
  const StreamHead& what = head.common;
  if (state && !state->complete) {
    if (!SameJourney(state->what, what)) {
      return Fail(EBUSY, device + ": is in the middle of another stream, to " +
                             Name(state->what.target) + " of volume " +
                             FormatUuid(state->what.volume) +
                             ": resume that one, or revert the device and use --forget");
    }
    if (head.begin > state->position) {
      return Fail(ESTALE, delta + ": begins at byte " + std::to_string(head.begin) + ", but " +
                              device + " has the target only below byte " +
                              std::to_string(state->position) + ": send --resume " +
                              FormatToken(TokenOf(*state)));
    }
    return true;
  }
  if (head.begin != 0) {
    return Fail(ESTALE, delta + ": begins at byte " + std::to_string(head.begin) + ", but " +
                            device + " is not in the middle of a stream: send the whole of it");
  }
  if (!state) return false;
  const StreamHead& had = state->what;
  if (had.volume != what.volume) {
    return Fail(ESTALE, delta + ": is of volume " + FormatUuid(what.volume) + ", but " + device +
                            " is a replica of volume " + FormatUuid(had.volume) +
                            ": use the right device, or --forget");
  }
  if (had.target.epoch == 0) return false;  // of no point in time: contents decide
  if (had.target.epoch == what.target.epoch) {
    return Fail(EALREADY, device + ": holds " + Name(what.target) + " already: nothing to do");
  }
  if (what.base.none || what.base.epoch == had.target.epoch) return false;
  return Fail(ESTALE, delta + ": its base is " + Name(what.base) + ", but " + device + " holds " +
                          Name(had.target) + ": send --from " +
                          (had.target.tag == kOriginTag ? "nothing: a full stream"
                                                        : std::to_string(had.target.tag)));
}

class Receiver {
 public:
  Receiver(ByteSource& delta, const ContentDevice& device, ReceiveLog& log,
           const ReceiveOptions& options)
      : delta_(delta), device_(device), log_(log), options_(options) {}

  [[nodiscard]] Result<ReceiveSummary> Run() {
    if (Status s = Check(); !s) return Pass(s);
    auto reader = DeltaReader::Open(delta_);
    if (!reader) return Pass(reader);
    if (!delta_.rewindable()) {
      if (Status s = Prepare(reader->head()); !s) return Pass(s);
    }
    ReceiveWindow window(device_, log_, summary_.head, options_, state_);
    Status status = Read(*reader, &window, "receiving");
    if (status) status = Finish(window);
    // What came before the damage or the cut is good, and must not be sent again.
    if (!status && !window.broken()) (void)window.Close();
    if (!status) return Pass(status);
    summary_.extents = reader->extents();
    summary_.bytes = reader->bytes();
    return summary_;
  }

 private:
  // What can be read twice is read to its end before anything is written.
  [[nodiscard]] Status Check() {
    if (!delta_.rewindable()) return {};
    auto reader = DeltaReader::Open(delta_);
    if (!reader) return Pass(reader);
    if (Status s = Prepare(reader->head()); !s) return s;
    if (Status s = Read(*reader, nullptr, "checking"); !s) return s;
    return delta_.Rewind();
  }

  [[nodiscard]] Status Prepare(const DeltaHead& head) {
    summary_.head = head;
    if (Status s = CheckRoom(device_, head, delta_.name()); !s) return s;
    auto known = log_.Load();
    if (!known) return Pass(known);
    auto resume = Judge(*known, head, delta_.name(), device_.name());
    if (!resume) return Pass(resume);
    full_ = head.common.base.none;
    if (*resume) return head.base_sums ? Resume(**known) : ResumeVouched(**known);
    if (Status s = Vouch(*known); !s) return s;
    state_.device = device_.name();
    state_.size = device_.size();
    state_.what = head.common;
    return {};
  }

  // Of a stream that begins: whether a downstream snapshot says that the device holds the base. One
  // with base sums is compared in any case; but its rest may come without.
  [[nodiscard]] Status Vouch(const std::optional<ReceiveState>& known) {
    const DeltaHead& head = summary_.head;
    const bool asked = options_.same_as && known && known->after && !full_ &&
                       head.common.base.epoch != 0 &&
                       known->what.target.epoch == head.common.base.epoch;
    auto same = asked ? options_.same_as(*known->after, 0) : Result<bool>(false);
    if (!same && !head.base_sums) return Pass(same);
    state_.vouched = same && *same;
    if (head.base_sums || state_.vouched) return {};
    const std::string what =
        delta_.name() + ": carries no base sums (a bookmark is its base, or what was written to): ";
    if (!options_.same_as) {
      return Fail(ESTALE, what +
                              "it is taken only on the origin of a ddsnap volume, with its server "
                              "(--server SOCK) and its snapshots");
    }
    if (!asked) {
      return Fail(ESTALE, what + device_.name() + ": is not known to hold " +
                              Name(head.common.base) + ", of which no snapshot was received");
    }
    return Fail(ESTALE, what + device_.name() + ": does not hold what snapshot " +
                            std::to_string(known->after->tag) +
                            " of it holds: revert it to that one");
  }

  // The same of one that goes on.
  [[nodiscard]] Status ResumeVouched(const ReceiveState& known) {
    const auto refuse = [&](const std::string& why) {
      const std::string to = known.before
                                 ? ": revert it to snapshot " + std::to_string(known.before->tag)
                                 : std::string();
      return Fail(ESTALE,
                  delta_.name() +
                      ": carries no base sums (a bookmark is its base, or what was written to): " +
                      device_.name() + why + to);
    };
    if (!known.vouched || !known.before || !options_.same_as) {
      return Fail(ESTALE,
                  delta_.name() +
                      ": carries no base sums (a bookmark is its base, or what was written to): " +
                      device_.name() + ": no snapshot vouches for what it was before");
    }
    auto reverted = options_.same_as(*known.before, 0);
    if (!reverted) return Pass(reverted);
    auto holds = StillHolds(known);
    if (!holds) return Pass(holds);
    state_ = known;
    if (*reverted && (known.written || !*holds)) return StartOver(/*vouched=*/true);
    auto above = options_.same_as(*known.before, known.limit);
    if (!above) return Pass(above);
    if (!*holds || !*above) return refuse(": has changed since a part was received");
    if (Status s = GoOn(); !s) return s;
    if (summary_.head.begin == 0) TakeWhole();
    return {};
  }

  // A sender whose base was written to cannot tell what an earlier stream left out because it was
  // the same then: it sends everything, and what was acknowledged does not count.
  void TakeWhole() { state_.position = summary_.resumed = 0; }

  // Reverted, or changed: nothing that was acknowledged can be believed.  `vouched`: a snapshot
  // says that the device is what it was before.
  [[nodiscard]] Status StartOver(bool vouched) {
    if (summary_.head.begin != 0) {
      // Whoever asks where to go on shall hear it.
      if (Status s = log_.Save(Disbelieved(state_)); !s) return s;
      return Fail(ESTALE, device_.name() + ": has changed since it was received up to byte " +
                              std::to_string(state_.position) + ": send the whole stream");
    }
    state_.position = state_.limit = 0;
    state_.first.reset();
    state_.last.reset();
    state_.before.reset();
    state_.written = false;
    state_.vouched = vouched;
    return {};
  }

  [[nodiscard]] Status Resume(const ReceiveState& known) {
    state_ = known;
    auto holds = StillHolds(known);
    if (!holds) return Pass(holds);
    auto same = IsAsBefore(known, *holds ? known.limit : 0);
    if (!same) return Pass(same);
    if (!*holds) return StartOver(known.vouched && same->value_or(false));
    // Where the stream has no extent, nothing else would notice.
    if (!same->value_or(true)) {
      return Fail(ESTALE, device_.name() +
                              ": has changed since a part was received: revert it to snapshot " +
                              std::to_string(known.before->tag));
    }
    return GoOn();
  }

  // Whether the device holds, from byte `from` on, what it held before the stream.  Nothing: there
  // is no snapshot that says it any more.
  [[nodiscard]] Result<std::optional<bool>> IsAsBefore(const ReceiveState& known,
                                                       uint64_t from) const {
    if (full_ || !known.before || !options_.same_as) return std::nullopt;
    auto same = options_.same_as(*known.before, from);
    if (same) return std::optional(*same);
    if (same.error().code == ESTALE) return std::nullopt;
    return Pass(same);
  }

  [[nodiscard]] Status GoOn() {
    if (Status s = Redo(); !s) return s;
    torn_ = state_.limit;
    summary_.resumed = state_.position;
    return {};
  }

  // A revert, or another use of the device, is likely to have reached one of these.  A revert by
  // our own tools says so in the state.
  [[nodiscard]] Result<bool> StillHolds(const ReceiveState& known) const {
    const auto below = [&known](const std::optional<ReceiveState::Written>& written) {
      return written && written->offset + written->length <= known.position;
    };
    auto holds = below(known.first) ? Holds(*known.first) : Result<bool>(true);
    if (!holds || !*holds || !known.last) return holds;
    return Holds(*known.last);
  }

  [[nodiscard]] Result<bool> Holds(const ReceiveState::Written& written) const {
    if (written.offset > device_.size() || written.length > device_.size() - written.offset) {
      return false;
    }
    AlignedBytes content(written.length);
    if (Status s = device_.Read(written.offset, content); !s) return Pass(s);
    return Checksum(content) == written.sum;
  }

  // Writes the extents that could not be made again from what the device holds now.
  [[nodiscard]] Status Redo() {
    auto bytes = log_.LoadRedo();
    if (!bytes) return Pass(bytes);
    if (bytes->empty()) return {};
    MemorySource source(*bytes);
    auto reader = DeltaReader::Open(source);
    if (!reader) return Pass(reader);
    // One of an earlier window, or of another stream: it was left behind.
    if (reader->head().begin != state_.position ||
        !SameJourney(reader->head().common, state_.what)) {
      return log_.DropRedo();
    }
    Extent extent;
    Record record;
    for (;;) {
      auto more = reader->Next(&extent, &record);
      if (!more) return Pass(more);
      if (!*more) break;
      if (!ExtentDecoder::PayloadIsGood(extent, record.payload) ||
          extent.kind != Extent::Kind::kRaw) {
        return reader->Damaged(record.payload_offset(), "redo file of a receive");
      }
      const uint64_t end = extent.offset + extent.length;
      if (end > state_.limit) {
        state_.limit = end;
        if (Status s = log_.Save(state_); !s) return s;
      }
      if (Status s = device_.Write(extent.offset, record.payload); !s) return s;
    }
    return device_.Flush();
  }

  // Reads the stream to its end; without a window nothing is written.
  [[nodiscard]] Status Read(DeltaReader& reader, ReceiveWindow* window, const char* what) {
    const ExtentWork work(summary_.head, delta_.name());
    OrderedWork<ExtentSlot> pipeline(options_.threads != 0 ? options_.threads : DefaultThreads());
    uint64_t done = 0;
    summary_.already = 0;
    return pipeline.Run([&](ExtentSlot& slot) { return reader.Next(&slot.extent, &slot.record); },
                        [&](ExtentSlot& slot) { return Work(work, slot); },
                        [&](ExtentSlot& slot) -> Status {
                          done = full_
                                     ? slot.extent.offset + slot.extent.length - reader.head().begin
                                     : done + slot.extent.length;
                          if (options_.progress)
                            options_.progress(what, done, reader.head().expected);
                          if (slot.already) summary_.already += slot.extent.length;
                          if (window == nullptr || Passed(slot.extent)) return {};
                          if (full_ && !options_.zeroed) {
                            if (Status s = window->AddGap(slot.extent.offset); !s) return s;
                          }
                          return window->Add(slot);
                        });
  }

  // Whether the extent lies below what had been acknowledged when this receive began.
  [[nodiscard]] bool Passed(const Extent& extent) const {
    return extent.offset + extent.length <= summary_.resumed;
  }

  [[nodiscard]] Status Work(const ExtentWork& work, ExtentSlot& slot) const {
    slot.already = slot.is_base = false;
    if (Status s = work.CheckPayload(slot); !s) return s;
    if (Passed(slot.extent)) {
      slot.already = true;
      return {};
    }
    if (!full_) {
      if (Status s = work.Compare(slot, device_); !s) return s;
      if (slot.already) return {};
      // Between position and limit an interrupted write may have left anything; what
      // needs the base there was in the redo file, and is the target's by now.
      const bool may_be_torn =
          slot.extent.offset < torn_ && slot.extent.kind != Extent::Kind::kDiff;
      if (summary_.head.base_sums && !slot.is_base && !may_be_torn)
        return work.NotTheBase(slot.extent, device_);
    }
    return work.Decode(slot);
  }

  [[nodiscard]] Status Finish(ReceiveWindow& window) {
    const uint64_t size = summary_.head.common.target.size;
    if (full_ && !options_.zeroed) {
      if (Status s = window.AddGap(size); !s) return s;
    }
    if (Status s = window.Close(size); !s) return s;
    if (options_.completed) {
      auto tag = options_.completed(summary_.head);
      if (!tag) return Pass(tag);
      state_.after = *tag;
    }
    state_.complete = true;
    state_.position = state_.limit = size;
    return log_.Save(state_);
  }

  ByteSource& delta_;
  const ContentDevice& device_;
  ReceiveLog& log_;
  const ReceiveOptions& options_;
  ReceiveState state_;
  ReceiveSummary summary_;
  bool full_ = false;
  uint64_t torn_ = 0;  // below it, and from the position on, anything may be there
};

}  // namespace

Result<ReceiveSummary> ReceiveDelta(ByteSource& delta, const ContentDevice& device, ReceiveLog& log,
                                    const ReceiveOptions& options) {
  return Receiver(delta, device, log, options).Run();
}

}  // namespace ddsnap::repl
