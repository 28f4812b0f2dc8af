// SPDX-License-Identifier: GPL-2.0
#include "repl/apply_delta.h"

#include <cerrno>
#include <string>

#include "repl/extent_work.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

using Pipeline = OrderedWork<ExtentSlot>;

// One pass over a delta.
class DeltaPass {
 public:
  enum class Kind {
    kVerify,  // reads the delta and the device, if there is one
    kCheck,   // the same, to be followed by kWrite
    kWrite,   // after kCheck: writes, in any order
    kStream,  // checks and writes, extent by extent
  };
  DeltaPass(Kind kind, DeltaReader& reader, const std::string& delta, const ContentDevice* device)
      : kind_(kind), reader_(reader), work_(reader.head(), delta), device_(device) {}

  [[nodiscard]] Status Run(Pipeline& pipeline, const ApplyOptions& options, const char* what,
                           ApplySummary* summary) {
    uint64_t already = 0;
    uint64_t done = 0;
    Status status =
        pipeline.Run([&](ExtentSlot& slot) { return reader_.Next(&slot.extent, &slot.record); },
                     [&](ExtentSlot& slot) { return Work(slot); },
                     [&](ExtentSlot& slot) -> Status {
                       if (kind_ == Kind::kStream && !slot.already) {
                         if (Status s = device_->Write(slot.extent.offset, slot.content); !s)
                           return s;
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
  [[nodiscard]] Status Compare(ExtentSlot& slot) const {
    if (Status s = work_.Compare(slot, *device_); !s) return s;
    if (slot.already || slot.is_base) return {};
    return work_.NotTheBase(slot.extent, *device_);
  }

  [[nodiscard]] Status Work(ExtentSlot& slot) const {
    slot.already = false;
    if (Status s = work_.CheckPayload(slot); !s) return s;
    const bool diff = slot.extent.kind == Extent::Kind::kDiff;
    // Without a device there is no base that a difference could be decoded with.
    if (device_ == nullptr) return diff ? Status() : work_.Decode(slot);
    if (kind_ != Kind::kWrite || diff) {
      if (Status s = Compare(slot); !s) return s;
      // Where the target is there the base is not, and it is not needed.
      if (slot.already && (diff || kind_ == Kind::kStream)) return {};
    }
    if (Status s = work_.Decode(slot); !s) return s;
    return kind_ == Kind::kWrite ? device_->Write(slot.extent.offset, slot.content) : Status();
  }

  const Kind kind_;
  DeltaReader& reader_;
  const ExtentWork work_;
  const ContentDevice* const device_;
};

Result<ApplySummary> RunPass(DeltaPass::Kind kind, ByteSource& delta, const ContentDevice* device,
                             Pipeline& pipeline, const ApplyOptions& options, const char* what) {
  auto reader = DeltaReader::Open(delta);
  if (!reader) return Pass(reader);
  const DeltaHead& head = reader->head();
  if (device != nullptr) {
    if (Status s = CheckRoom(*device, head, delta.name()); !s) return Pass(s);
  }
  if (kind != DeltaPass::Kind::kVerify && (head.common.base.none || head.begin != 0)) {
    return Fail(ENOTSUP, delta.name() +
                             (head.begin != 0 ? ": a resumed stream" : ": a full stream") +
                             ": apply compares with a whole base; use ddsnap delta receive");
  }
  if (device != nullptr && !head.base_sums) {
    return Fail(ENOTSUP, delta.name() +
                             ": carries no base sums (a bookmark is its base, or what was written "
                             "to): no device can be "
                             "compared with it; use ddsnap delta receive");
  }
  ApplySummary summary;
  DeltaPass pass(kind, *reader, delta.name(), device);
  if (Status s = pass.Run(pipeline, options, what, &summary); !s) return Pass(s);
  return summary;
}

unsigned Threads(const ApplyOptions& options) {
  return options.threads != 0 ? options.threads : DefaultThreads();
}

}  // namespace

Result<ApplySummary> ApplyDelta(ByteSource& delta, const ContentDevice& device,
                                const ApplyOptions& options) {
  Result<ApplySummary> summary = ApplySummary();
  Pipeline pipeline(Threads(options));  // both passes use the same memory
  if (delta.rewindable()) {
    summary = RunPass(DeltaPass::Kind::kCheck, delta, &device, pipeline, options, "checking");
    if (!summary) return summary;
    if (Status s = delta.Rewind(); !s) return Pass(s);
    auto written = RunPass(DeltaPass::Kind::kWrite, delta, &device, pipeline, options, "applying");
    if (!written) return written;
  } else {
    summary = RunPass(DeltaPass::Kind::kStream, delta, &device, pipeline, options, "applying");
    // What was applied before the damage stays: it is as durable as can be.
    if (!summary) {
      (void)device.Flush();
      return summary;
    }
  }
  if (Status s = device.Flush(); !s) return Pass(s);
  return summary;
}

Result<ApplySummary> VerifyDelta(ByteSource& delta, const ContentDevice* device,
                                 const ApplyOptions& options) {
  Pipeline pipeline(Threads(options));
  return RunPass(DeltaPass::Kind::kVerify, delta, device, pipeline, options, "verifying");
}

}  // namespace ddsnap::repl
