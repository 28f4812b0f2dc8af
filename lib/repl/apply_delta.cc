// SPDX-License-Identifier: GPL-2.0
#include "repl/apply_delta.h"

#include <cerrno>
#include <string>

#include "repl/aligned_bytes.h"
#include "repl/extent_codec.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

struct ApplySlot {
  Extent extent;
  Record record;  // holds the payload
  AlignedBytes current = AlignedBytes(kMaxExtent);  // what the device holds
  AlignedBytes decoded = AlignedBytes(kMaxExtent);
  ExtentDecoder decoder;
  std::span<const std::byte> content;  // what it shall hold; empty if it does already
  bool already = false;
};

// One pass over a delta.
class DeltaPass {
 public:
  enum class Kind {
    kCheck,   // reads the delta and the device
    kWrite,   // after kCheck: writes, in any order
    kStream,  // checks and writes, extent by extent
  };
  DeltaPass(Kind kind, DeltaReader& reader, const std::string& delta, const ContentDevice& device)
      : kind_(kind), reader_(reader), delta_(delta), device_(device) {}

  [[nodiscard]] Status Run(const ApplyOptions& options, const char* what, ApplySummary* summary) {
    OrderedWork<ApplySlot> pipeline(options.threads != 0 ? options.threads : DefaultThreads());
    uint64_t already = 0;
    uint64_t done = 0;
    Status status = pipeline.Run(
        [&](ApplySlot& slot) { return reader_.Next(&slot.extent, &slot.record); },
        [&](ApplySlot& slot) { return Work(slot); },
        [&](ApplySlot& slot) -> Status {
          if (kind_ == Kind::kStream && !slot.already) {
            if (Status s = device_.Write(slot.extent.offset, slot.content); !s) return s;
          }
          done += slot.extent.length;
          if (slot.already) already += slot.extent.length;
          if (options.progress) options.progress(what, done, reader_.head().expected);
          return {};
        });
    if (!status) return status;
    summary->head = reader_.head();
    summary->extents = reader_.extents();
    summary->bytes = reader_.bytes();
    if (kind_ != Kind::kWrite) summary->already = already;
    return {};
  }

 private:
  [[nodiscard]] std::unexpected<Error> Damaged(uint64_t offset, const std::string& why) const {
    return Fail(EBADMSG, delta_ + ": damaged at byte " + std::to_string(offset) + ": " + why);
  }

  // Reads what the device holds and says whether it is the base's content or
  // the target's.  Past the end of the base anything may be there.
  [[nodiscard]] Status CheckDevice(ApplySlot& slot) const {
    const Extent& extent = slot.extent;
    const auto current = std::span(slot.current).first(extent.length);
    if (Status s = device_.Read(extent.offset, current); !s) return s;
    const Sum sum = Checksum(current);
    slot.already = sum == extent.target_sum;
    if (slot.already) return {};
    const bool whole = extent.base_length == extent.length;
    if ((whole ? sum : Checksum(current.first(extent.base_length))) == extent.base_sum) return {};
    const DeltaHead& head = reader_.head();
    return Fail(ESTALE, device_.name() + ": is not the base of " + delta_ + " (" +
                            Describe(head.common.base) + "): other content in bytes " +
                            std::to_string(extent.offset) + " to " +
                            std::to_string(extent.offset + extent.length - 1));
  }

  [[nodiscard]] Status Work(ApplySlot& slot) const {
    const Extent& extent = slot.extent;
    const Record& record = slot.record;
    slot.already = false;
    if (!ExtentDecoder::PayloadIsGood(extent, record.payload)) {
      return Damaged(record.payload_offset(), "checksum of the payload does not match");
    }
    const bool diff = extent.kind == Extent::Kind::kDiff;
    if (kind_ != Kind::kWrite || diff) {
      if (Status s = CheckDevice(slot); !s) return s;
      // Where the target is there the base is not, and it is not needed.
      if (slot.already && (diff || kind_ != Kind::kCheck)) return {};
    }
    auto content = slot.decoder.Decode(extent, record.payload,
                                       std::span(slot.current).first(extent.base_length),
                                       slot.decoded);
    if (!content) return Damaged(record.payload_offset(), content.error().text);
    slot.content = *content;
    return kind_ == Kind::kWrite ? device_.Write(extent.offset, slot.content) : Status();
  }

  const Kind kind_;
  DeltaReader& reader_;
  const std::string& delta_;
  const ContentDevice& device_;
};

Result<ApplySummary> RunPass(DeltaPass::Kind kind, ByteSource& delta, const ContentDevice& device,
                             const ApplyOptions& options, const char* what) {
  auto reader = DeltaReader::Open(delta);
  if (!reader) return Pass(reader);
  const DeltaHead& head = reader->head();
  if (device.size() < head.common.target.size) {
    return Fail(ENOSPC, device.name() + ": too small: it has " + std::to_string(device.size()) +
                            " bytes, the target of " + delta.name() + " has " +
                            std::to_string(head.common.target.size));
  }
  if (head.common.base.none || head.begin != 0) {
    return Fail(ENOTSUP, delta.name() + ": a full or resumed stream: not for apply");
  }
  ApplySummary summary;
  DeltaPass pass(kind, *reader, delta.name(), device);
  if (Status s = pass.Run(options, what, &summary); !s) return Pass(s);
  return summary;
}

}  // namespace

Result<ApplySummary> ApplyDelta(ByteSource& delta, const ContentDevice& device,
                                const ApplyOptions& options) {
  Result<ApplySummary> summary = ApplySummary();
  if (delta.rewindable()) {
    summary = RunPass(DeltaPass::Kind::kCheck, delta, device, options, "checking");
    if (!summary) return summary;
    if (Status s = delta.Rewind(); !s) return Pass(s);
    auto written = RunPass(DeltaPass::Kind::kWrite, delta, device, options, "applying");
    if (!written) return written;
  } else {
    summary = RunPass(DeltaPass::Kind::kStream, delta, device, options, "applying");
    // What was applied before the damage stays: it is as durable as can be.
    if (!summary) {
      (void)device.Flush();
      return summary;
    }
  }
  if (Status s = device.Flush(); !s) return Pass(s);
  return summary;
}

}  // namespace ddsnap::repl
