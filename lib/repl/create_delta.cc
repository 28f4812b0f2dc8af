// SPDX-License-Identifier: GPL-2.0
#include "repl/create_delta.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "repl/aligned_bytes.h"
#include "repl/delta_stream.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

// Below this, what is unchanged or zero costs less inside a compressed extent
// than as a gap or an extent of its own.
constexpr uint32_t kMinGap = 32 << 10;

// One extent of the delta, cut from what a slot has read.
struct Part {
  Extent extent;
  std::span<const std::byte> raw;  // of the slot's target: the payload, if it is not compressed
  size_t payload = 0;              // bytes of the slot's `payloads`, if it is
};

// An item of the pipeline, with room for one extent of the plan.
struct CreateSlot {
  Extent extent;
  AlignedBytes base;
  AlignedBytes target;
  std::optional<ExtentEncoder> encoder;
  std::vector<Part> parts;
  std::vector<std::byte> payloads;
};

Status CheckSize(const ContentDevice& device, const SnapshotId& id) {
  if (device.size() >= id.size) return {};
  return Fail(EINVAL, device.name() + ": has " + std::to_string(device.size()) + " bytes, but " +
                          Describe(id) + " has " + std::to_string(id.size));
}

// Makes a delta of a plan: reading, encoding and writing overlap.
class Creation {
 public:
  // `from` null: there is no base, or nothing of its contents.
  Creation(const DeltaHead& head, const ContentDevice* from, const ContentDevice& to,
           const CreateOptions& options)
      : head_(head), from_(from), to_(to), options_(options) {
    const bool raw = options.mode == Mode::kRaw && options.level == 0;
    min_gap_ = raw ? 0 : kMinGap;
  }

  [[nodiscard]] Result<CreateSummary> Run(ContentPlan& plan, ByteSink& out) {
    DeltaWriter writer(out, head_);
    if (Status s = writer.Begin(); !s) return Pass(s);
    OrderedWork<CreateSlot> pipeline(options_.threads != 0 ? options_.threads : DefaultThreads());
    Status status = pipeline.Run([&](CreateSlot& slot) { return plan.Next(&slot.extent); },
                                 [&](CreateSlot& slot) { return Fill(slot); },
                                 [&](CreateSlot& slot) { return Write(slot, writer); });
    if (status && options_.before_end) status = options_.before_end();
    if (!status) return Pass(status);
    if (Status s = writer.Finish(); !s) return Pass(s);
    return summary_;
  }

 private:
  [[nodiscard]] bool full() const { return head_.common.base.none; }

  [[nodiscard]] Status Fill(CreateSlot& slot) const {
    const Extent& extent = slot.extent;
    const auto base = Room(slot.base, from_ != nullptr ? extent.base_length : 0);
    const auto target = Room(slot.target, extent.length);
    if (from_ != nullptr) {
      if (Status s = from_->Read(extent.offset, base); !s) return s;
    }
    if (Status s = to_.Read(extent.offset, target); !s) return s;
    slot.parts.clear();
    slot.payloads.clear();
    const uint32_t chunk_size = head_.common.chunk_size;
    for (const auto& run : SplitRuns(base, target, chunk_size, full(), min_gap_)) {
      if (run.kind == ContentRun::Kind::kSame) continue;
      const auto old_part = base.subspan(std::min<size_t>(run.offset, base.size()),
                                         Clip(run.offset, run.length, base.size()));
      if (Status s = Encode(slot, run, old_part, target.subspan(run.offset, run.length)); !s)
        return s;
    }
    return {};
  }

  [[nodiscard]] Status Encode(CreateSlot& slot, const ContentRun& run,
                              std::span<const std::byte> base,
                              std::span<const std::byte> target) const {
    if (!slot.encoder) slot.encoder.emplace(options_.mode, options_.level);
    Part part;
    part.extent.offset = slot.extent.offset + run.offset;
    part.extent.length = static_cast<uint32_t>(target.size());
    part.extent.base_length = static_cast<uint32_t>(base.size());
    const bool diff = part.extent.offset >= options_.no_diff_below;
    auto payload = slot.encoder->Encode(&part.extent, base, target, diff);
    if (!payload) return Pass(payload);
    if (!head_.base_sums) {
      part.extent.base_sum = {};
      part.extent.base_length = static_cast<uint32_t>(
          Clip(part.extent.offset, part.extent.length, head_.common.base.size));
    }
    if (part.extent.kind == Extent::Kind::kRaw) {
      part.raw = *payload;
    } else {
      part.payload = payload->size();
      slot.payloads.insert(slot.payloads.end(), payload->begin(), payload->end());
    }
    slot.parts.push_back(part);
    return {};
  }

  [[nodiscard]] Status Write(CreateSlot& slot, DeltaWriter& writer) {
    std::span<const std::byte> compressed = slot.payloads;
    uint64_t changed = 0;
    for (const Part& part : slot.parts) {
      const auto payload = part.raw.empty() ? compressed.first(part.payload) : part.raw;
      compressed = compressed.subspan(part.payload);
      ++summary_.extents;
      changed += part.extent.length;
      summary_.payload += payload.size();
      if (Status s = writer.Add(part.extent, payload); !s) return s;
    }
    summary_.bytes += changed;
    summary_.unchanged += slot.extent.length - changed;
    // A full delta passes over what it knows to be zero: its progress is its place.
    done_ =
        full() ? slot.extent.offset + slot.extent.length - head_.begin : done_ + slot.extent.length;
    if (options_.progress) options_.progress("sending", done_, head_.expected);
    return {};
  }

  const DeltaHead head_;
  const ContentDevice* const from_;
  const ContentDevice& to_;
  const CreateOptions& options_;
  uint32_t min_gap_ = 0;
  CreateSummary summary_;
  uint64_t done_ = 0;
};

Status CheckBegin(const StreamHead& head, uint64_t begin) {
  if (begin % head.chunk_size == 0 || begin >= head.target.size) return {};
  return Fail(EINVAL, "begin of the stream is inside a chunk: " + std::to_string(begin));
}

}  // namespace

Result<ChangelistTotals> CheckChangelist(ByteSource& changelist, uint64_t begin) {
  auto list = ChangelistReader::Open(changelist);
  if (!list) return Pass(list);
  ChangelistTotals totals{.head = list->head()};
  ExtentPlan plan(*list, begin);
  for (;;) {
    auto length = plan.SkipRange();  // by ranges: a list may claim an exabyte
    if (!length) return Pass(length);
    if (*length == 0) break;
    totals.content += *length;
  }
  totals.ranges = list->ranges();
  totals.chunks = list->chunks();
  return totals;
}

Result<CreateSummary> CreateDelta(ByteSource& changelist, const ContentDevice* from,
                                  const ContentDevice& to, ByteSink& out,
                                  const CreateOptions& options) {
  if (!changelist.rewindable()) {
    return Fail(ESPIPE, changelist.name() + ": must be a file, for it is read twice");
  }
  auto totals = CheckChangelist(changelist, options.begin);
  if (!totals) return Pass(totals);
  if (Status s = CheckBegin(totals->head, options.begin); !s) return Pass(s);
  if (from != nullptr) {
    if (Status s = CheckSize(*from, totals->head.base); !s) return Pass(s);
  }
  if (Status s = CheckSize(to, totals->head.target); !s) return Pass(s);
  if (Status s = changelist.Rewind(); !s) return Pass(s);
  auto list = ChangelistReader::Open(changelist);
  if (!list) return Pass(list);
  DeltaHead head{.common = list->head(),
                 .expected = totals->content,
                 .begin = options.begin,
                 .base_sums = from != nullptr};
  head.common.made_ns = options.now_ns;
  ExtentPlan plan(*list, options.begin);
  return Creation(head, from, to, options).Run(plan, out);
}

Result<CreateSummary> CreateFullDelta(const StreamHead& what, const ContentDevice& to,
                                      ByteSink& out, const CreateOptions& options) {
  DeltaHead head{.common = what, .expected = 0, .begin = options.begin};
  head.common.base = {.none = true};
  head.common.made_ns = options.now_ns;
  if (Status s = CheckBegin(what, options.begin); !s) return Pass(s);
  if (Status s = CheckSize(to, what.target); !s) return Pass(s);
  head.expected = what.target.size - std::min(what.target.size, options.begin);
  WholePlan plan(to, head.common, options.begin);
  return Creation(head, nullptr, to, options).Run(plan, out);
}

}  // namespace ddsnap::repl
