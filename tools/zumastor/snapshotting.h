// SPDX-License-Identifier: GPL-2.0
// Making a snapshot with everything around it, and letting old ones go.
#ifndef DDSNAP_TOOLS_ZUMASTOR_SNAPSHOTTING_H_
#define DDSNAP_TOOLS_ZUMASTOR_SNAPSHOTTING_H_

#include <string>
#include <vector>

#include "live_volume.h"

namespace ddsnap {

// Hooks run before and after, the mounted file system is frozen for the moment
// of creation.  The snapshot is kept for `rotations`; with none until somebody
// deletes it.
[[nodiscard]] Result<Tag> MakeSnapshot(LiveVolume& volume,
                                       const std::vector<std::string>& rotations);

// Deletes what the volume's rotations do not keep any more.
[[nodiscard]] Status ExpireSnapshots(LiveVolume& volume);

// The rotation of the volume's schedule with this name.  ENOENT if it has none.
[[nodiscard]] Result<Rotation> FindRotation(const VolumeConfig& config, const std::string& name);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_SNAPSHOTTING_H_
