// SPDX-License-Identifier: GPL-2.0
// Whether a target has what it is believed to have; and makes it so.
#ifndef DDSNAP_TOOLS_ZUMASTOR_VERIFYING_H_
#define DDSNAP_TOOLS_ZUMASTOR_VERIFYING_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

struct Verdict {
  static constexpr size_t kMaxRanges = 1000;

  Tag snapshot = 0;        // that the target holds, as it is called here
  uint64_t compared = 0;   // bytes
  uint64_t different = 0;  // chunks
  uint64_t deltas = 0;     // of a folder
  // In bytes; neighbours are one, and no more than kMaxRanges are kept.
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  bool origin_differs = false;  // the replica was written to since it received the snapshot
  bool repaired = false;
  Tag there = 0;   // the snapshot that was compared, as it is called there
  Tag mended = 0;  // the one that is there in its place, if it was repaired
  [[nodiscard]] bool good() const { return repaired || (different == 0 && !origin_differs); }
};

// Compares the snapshot that a target holds with what is there; with `repair` what differs is sent
// again.  A folder's deltas are read to their ends, and the newest is compared.
[[nodiscard]] Result<Verdict> Verify(const std::string& volume, const TargetConfig& target,
                                     bool repair, bool json);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_VERIFYING_H_
