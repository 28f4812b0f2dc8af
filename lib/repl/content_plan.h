// SPDX-License-Identifier: GPL-2.0
// Which bytes of a target a delta is made of, cut into extents.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_CONTENT_PLAN_H_
#define DDSNAP_REPL_CONTENT_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "repl/changelist.h"
#include "repl/content_device.h"
#include "repl/delta_stream.h"

namespace ddsnap::repl {

// Extents ascend, have at most kMaxExtent bytes, begin between chunks and end there
// or at the end of the target.
class ContentPlan {
 public:
  virtual ~ContentPlan() = default;
  // Sets place and lengths; false at the end.
  [[nodiscard]] virtual Result<bool> Next(Extent* extent) = 0;
};

// The extents of a changelist: its ranges, and what the target has grown by,
// clipped to the target.  What lies below `begin`, a chunk's beginning, is left out.
class ExtentPlan : public ContentPlan {
 public:
  explicit ExtentPlan(ChangelistReader& list, uint64_t begin = 0);
  [[nodiscard]] Result<bool> Next(Extent* extent) override;
  // Passes over the extents of a whole range, and returns how many bytes they have; 0 at the end.
  [[nodiscard]] Result<uint64_t> SkipRange();

 private:
  [[nodiscard]] Result<bool> NextRange();

  ChangelistReader& list_;
  const uint64_t begin_;
  const uint64_t chunk_size_;
  const uint64_t target_size_;
  const uint64_t base_size_;
  uint64_t growth_;  // first byte that counts as grown; kMaxSize + 1: none
  bool list_ended_ = false;
  uint64_t at_ = 0;  // bytes of the range under way
  uint64_t end_ = 0;
};

// All of a target without a base, but for what the device knows to be zero.
class WholePlan : public ContentPlan {
 public:
  WholePlan(const ContentDevice& device, const StreamHead& head, uint64_t begin = 0);
  [[nodiscard]] Result<bool> Next(Extent* extent) override;

 private:
  const ContentDevice& device_;
  const uint64_t chunk_size_;
  const uint64_t size_;
  uint64_t at_;
};

// A run of chunks within one extent that are treated alike.
struct ContentRun {
  enum class Kind : uint8_t { kSame, kZero, kData };  // kSame: as the base has it
  Kind kind = Kind::kData;
  uint32_t offset = 0;  // bytes within the extent
  uint32_t length = 0;
  bool operator==(const ContentRun&) const = default;
};

// Cuts `target` into runs.  Past the end of `base` nothing is the same; with
// `zero_base` zeroes are.  A run of less than `min_gap` bytes between two of
// data becomes data.
[[nodiscard]] std::vector<ContentRun> SplitRuns(std::span<const std::byte> base,
                                                std::span<const std::byte> target,
                                                uint32_t chunk_size, bool zero_base,
                                                uint32_t min_gap);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CONTENT_PLAN_H_
