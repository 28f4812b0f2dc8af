// SPDX-License-Identifier: GPL-2.0
// Snapshots as `list` and `status` print them.
#ifndef DDSNAP_TOOLS_SNAPSHOT_TABLE_H_
#define DDSNAP_TOOLS_SNAPSHOT_TABLE_H_

#include "control_verb.h"

namespace ddsnap {

struct SnapshotColumns {
  bool space = false;    // chunks, shared, unshared
  bool verbose = false;  // epoch and size
};

// The "snapshots" of the server's answer, one line each.
[[nodiscard]] Status PrintSnapshots(const nlohmann::json& answer, const SnapshotColumns& columns);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_SNAPSHOT_TABLE_H_
