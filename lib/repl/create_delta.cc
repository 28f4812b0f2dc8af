// SPDX-License-Identifier: GPL-2.0
#include "repl/create_delta.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "repl/aligned_bytes.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

// An item of the pipeline, with room for one extent.
struct CreateSlot {
  Extent extent;
  AlignedBytes base = AlignedBytes(kMaxExtent);
  AlignedBytes target = AlignedBytes(kMaxExtent);
  std::optional<ExtentEncoder> encoder;
  std::span<const std::byte> payload;
  bool unchanged = false;
};

Status CheckSize(const ContentDevice& device, const SnapshotId& id) {
  if (device.size() >= id.size) return {};
  return Fail(EINVAL, device.name() + ": has " + std::to_string(device.size()) + " bytes, but " +
                          Describe(id) + " of the changelist has " + std::to_string(id.size));
}

Status ReadAndEncode(const ContentDevice& from, const ContentDevice& to,
                     const CreateOptions& options, CreateSlot& slot) {
  const Extent& extent = slot.extent;
  const auto base = std::span(slot.base).first(extent.base_length);
  const auto target = std::span(slot.target).first(extent.length);
  if (Status s = from.Read(extent.offset, base); !s) return s;
  if (Status s = to.Read(extent.offset, target); !s) return s;
  slot.unchanged = base.size() == target.size() &&
                   std::memcmp(base.data(), target.data(), base.size()) == 0;
  if (slot.unchanged) return {};
  if (!slot.encoder) slot.encoder.emplace(options.mode, options.level);
  auto payload = slot.encoder->Encode(&slot.extent, base, target);
  if (!payload) return Pass(payload);
  slot.payload = *payload;
  return {};
}

}  // namespace

ExtentPlan::ExtentPlan(ChangelistReader& list)
    : list_(list),
      chunk_size_(list.head().chunk_size),
      target_size_(list.head().target.size),
      base_size_(list.head().base.size),
      growth_(kMaxSize + 1) {
  // The chunk in which the base ends is taken whole.
  if (target_size_ > base_size_) growth_ = base_size_ / chunk_size_ * chunk_size_;
}

// Sets at_ and end_ to the next bytes that count as changed.
Result<bool> ExtentPlan::NextRange() {
  const uint64_t limit = std::min(target_size_, growth_);
  while (!list_ended_) {
    auto range = list_.Next();
    if (!range) return Pass(range);
    if (!*range) {
      list_ended_ = true;
      if (growth_ >= target_size_) return false;
      at_ = growth_;
      end_ = target_size_;
      return true;
    }
    const uint64_t chunk = (*range)->chunk;
    if (chunk >= (limit + chunk_size_ - 1) / chunk_size_) continue;  // past the end: read on
    at_ = chunk * chunk_size_;
    const uint64_t room = (limit - at_ + chunk_size_ - 1) / chunk_size_;
    end_ = (*range)->count >= room ? limit : at_ + (*range)->count * chunk_size_;
    return true;
  }
  return false;
}

Result<bool> ExtentPlan::Next(Extent* extent) {
  if (at_ == end_) {
    auto more = NextRange();
    if (!more || !*more) return more;
  }
  *extent = {};
  extent->offset = at_;
  extent->length = static_cast<uint32_t>(std::min<uint64_t>(end_ - at_, kMaxExtent));
  extent->base_length = static_cast<uint32_t>(Clip(at_, extent->length, base_size_));
  at_ += extent->length;
  return true;
}

Result<ChangelistTotals> CheckChangelist(ByteSource& changelist) {
  auto list = ChangelistReader::Open(changelist);
  if (!list) return Pass(list);
  ChangelistTotals totals{.head = list->head()};
  const uint64_t chunk_size = totals.head.chunk_size;
  const uint64_t target = totals.head.target.size;
  const uint64_t base = totals.head.base.size;
  const uint64_t growth = target > base ? base / chunk_size * chunk_size : target;
  for (;;) {
    auto range = list->Next();
    if (!range) return Pass(range);
    if (!*range) break;
    const auto [chunk, count] = **range;
    if (chunk >= (growth + chunk_size - 1) / chunk_size) continue;
    const uint64_t offset = chunk * chunk_size;
    const uint64_t room = (growth - offset + chunk_size - 1) / chunk_size;
    totals.content += count >= room ? growth - offset : count * chunk_size;
  }
  totals.content += target - growth;
  totals.ranges = list->ranges();
  totals.chunks = list->chunks();
  return totals;
}

Result<CreateSummary> CreateDelta(ByteSource& changelist, const ContentDevice& from,
                                  const ContentDevice& to, ByteSink& out,
                                  const CreateOptions& options) {
  if (!changelist.rewindable()) {
    return Fail(ESPIPE, changelist.name() + ": must be a file, for it is read twice");
  }
  auto totals = CheckChangelist(changelist);
  if (!totals) return Pass(totals);
  if (Status s = CheckSize(from, totals->head.base); !s) return Pass(s);
  if (Status s = CheckSize(to, totals->head.target); !s) return Pass(s);
  if (Status s = changelist.Rewind(); !s) return Pass(s);
  auto list = ChangelistReader::Open(changelist);
  if (!list) return Pass(list);

  DeltaHead head{.common = list->head(), .expected = totals->content, .begin = 0};
  head.common.made_ns = options.now_ns;
  DeltaWriter writer(out, head);
  if (Status s = writer.Begin(); !s) return Pass(s);

  ExtentPlan plan(*list);
  CreateSummary summary;
  uint64_t done = 0;
  OrderedWork<CreateSlot> pipeline(options.threads != 0 ? options.threads : DefaultThreads());
  Status status = pipeline.Run(
      [&](CreateSlot& slot) { return plan.Next(&slot.extent); },
      [&](CreateSlot& slot) { return ReadAndEncode(from, to, options, slot); },
      [&](CreateSlot& slot) -> Status {
        done += slot.extent.length;
        if (options.progress) options.progress("creating", done, totals->content);
        if (slot.unchanged) {
          summary.unchanged += slot.extent.length;
          return {};
        }
        ++summary.extents;
        summary.bytes += slot.extent.length;
        summary.payload += slot.payload.size();
        return writer.Add(slot.extent, slot.payload);
      });
  if (!status) return Pass(status);
  if (Status s = writer.Finish(); !s) return Pass(s);
  return summary;
}

}  // namespace ddsnap::repl
