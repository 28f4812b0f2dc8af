// SPDX-License-Identifier: GPL-2.0
// Verifies a whole store that nobody is using: every block, both indexes against each
// other, the space maps against what is referenced, every count.  Writes nothing; the
// journal is applied in memory.
#ifndef DDSNAP_STORE_CHECKER_H_
#define DDSNAP_STORE_CHECKER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "io/block_device.h"

namespace ddsnap {

struct Damage {
  enum class Severity {
    kMinor,  // costs space or redundancy; every snapshot is whole
    kMajor,  // the snapshots in `tags` may hold wrong contents, the bookmarks miss changes
    kFatal,  // the store cannot be opened
  };
  Severity severity = Severity::kMinor;
  std::string where;      // structure and place
  std::string what;       // what is wrong with it
  std::vector<Tag> tags;  // of the snapshots and bookmarks that are touched
};

struct CheckReport {
  std::vector<Damage> damages;  // at most kMaxDamages; `more` counts the rest
  uint64_t more = 0;
  uint64_t snapshots = 0;
  uint64_t bookmarks = 0;
  uint64_t exceptions = 0;
  uint64_t privates = 0;
  uint64_t tree_blocks = 0;
  [[nodiscard]] bool sound() const { return damages.empty(); }

  static constexpr size_t kMaxDamages = 1000;
};

// `progress`, if given, hears how far the work is (0 to 1).  An error means that
// the devices could not be read, or hold no store; damage is in the report.
[[nodiscard]] Result<CheckReport> CheckStore(BlockDevice& store, BlockDevice* meta,
                                             const std::function<void(double)>& progress = {});

}  // namespace ddsnap

#endif  // DDSNAP_STORE_CHECKER_H_
