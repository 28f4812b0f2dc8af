// SPDX-License-Identifier: GPL-2.0
// Snapshots as folders: /run/zumastor/snapshot/NAME/YYYY.MM.DD-HH.MM.SS (UTC), mounted
// read-only when somebody looks, and links ROTATION.N to them, 0 the newest.
#ifndef DDSNAP_TOOLS_ZUMASTOR_SNAPSHOT_MOUNTS_H_
#define DDSNAP_TOOLS_ZUMASTOR_SNAPSHOT_MOUNTS_H_

#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"

namespace ddsnap {

class LiveVolume;
struct LiveSnapshot;

// "2026.11.24-07.30.00" of "2026-11-24T07:30:00Z".
[[nodiscard]] std::string FolderName(const std::string& created);

// Makes folders, automounts and links what they should be for these snapshots.
[[nodiscard]] Status SyncSnapshotMounts(const LiveVolume& volume,
                                        const std::vector<LiveSnapshot>& snapshots);

// The folder of one snapshot, if it has one, is unmounted and removed.  EBUSY if it is in use.
[[nodiscard]] Status UnmountSnapshot(const LiveVolume& volume, Tag tag);

// A replica with a mount point shows the snapshot that it received last there, read-only; whoever
// still has the one before open keeps it.  Without `wait` the mount comes when its place is there,
// as while the machine comes up.  Does nothing for other volumes.
[[nodiscard]] Status ShowReplica(const LiveVolume& volume, bool wait);
// Nothing of the replica is shown any more.  EBUSY if it is in use.
[[nodiscard]] Status HideReplica(const LiveVolume& volume);

// Removes what is left of a volume that is down.
[[nodiscard]] Status RemoveSnapshotMounts(const std::string& volume);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_SNAPSHOT_MOUNTS_H_
