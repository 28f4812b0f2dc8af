// SPDX-License-Identifier: GPL-2.0
#include "repl/content_plan.h"

#include <algorithm>
#include <cstring>

#include "repl/extent_codec.h"

namespace ddsnap::repl {

ExtentPlan::ExtentPlan(ChangelistReader& list, uint64_t begin)
    : list_(list),
      begin_(begin),
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
      at_ = std::max(growth_, begin_);
      if (at_ >= target_size_) break;
      end_ = target_size_;
      return true;
    }
    const uint64_t chunk = (*range)->chunk;
    if (chunk >= (limit + chunk_size_ - 1) / chunk_size_) continue;  // past the end: read on
    at_ = chunk * chunk_size_;
    const uint64_t room = (limit - at_ + chunk_size_ - 1) / chunk_size_;
    end_ = (*range)->count >= room ? limit : at_ + (*range)->count * chunk_size_;
    if (end_ <= begin_) continue;
    at_ = std::max(at_, begin_);
    return true;
  }
  at_ = end_ = 0;
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

Result<uint64_t> ExtentPlan::SkipRange() {
  if (at_ == end_) {
    auto more = NextRange();
    if (!more) return Pass(more);
    if (!*more) return 0;
  }
  const uint64_t length = end_ - at_;
  at_ = end_;
  return length;
}

WholePlan::WholePlan(const ContentDevice& device, const StreamHead& head, uint64_t begin)
    : device_(device), chunk_size_(head.chunk_size), size_(head.target.size), at_(begin) {}

Result<bool> WholePlan::Next(Extent* extent) {
  if (at_ >= size_) return false;
  const uint64_t data = device_.NextData(at_);
  if (data >= size_) {
    at_ = size_;
    return false;
  }
  at_ = std::max(at_, data / chunk_size_ * chunk_size_);
  *extent = {};
  extent->offset = at_;
  extent->length = static_cast<uint32_t>(std::min<uint64_t>(size_ - at_, kMaxExtent));
  at_ += extent->length;
  return true;
}

namespace {

using Kind = ContentRun::Kind;

Kind KindOf(std::span<const std::byte> base, std::span<const std::byte> target, bool zero_base) {
  if (base.size() == target.size() && !zero_base &&
      std::memcmp(base.data(), target.data(), target.size()) == 0) {
    return Kind::kSame;
  }
  if (!IsZero(target)) return Kind::kData;
  return zero_base ? Kind::kSame : Kind::kZero;
}

// Neighbours of one kind become one run.
void Append(std::vector<ContentRun>& runs, const ContentRun& run) {
  if (!runs.empty() && runs.back().kind == run.kind) {
    runs.back().length += run.length;
  } else {
    runs.push_back(run);
  }
}

}  // namespace

std::vector<ContentRun> SplitRuns(std::span<const std::byte> base,
                                  std::span<const std::byte> target, uint32_t chunk_size,
                                  bool zero_base, uint32_t min_gap) {
  std::vector<ContentRun> runs;
  for (size_t at = 0; at < target.size(); at += chunk_size) {
    const size_t length = std::min<size_t>(chunk_size, target.size() - at);
    const auto old =
        base.subspan(std::min(at, base.size()), static_cast<size_t>(Clip(at, length, base.size())));
    Append(runs, {KindOf(old, target.subspan(at, length), zero_base), static_cast<uint32_t>(at),
                  static_cast<uint32_t>(length)});
  }
  std::vector<ContentRun> merged;
  for (size_t i = 0; i < runs.size(); ++i) {
    ContentRun run = runs[i];
    const bool between = i > 0 && i + 1 < runs.size() && runs[i - 1].kind == Kind::kData &&
                         runs[i + 1].kind == Kind::kData;
    if (between && run.length < min_gap) run.kind = Kind::kData;
    Append(merged, run);
  }
  return merged;
}

}  // namespace ddsnap::repl
