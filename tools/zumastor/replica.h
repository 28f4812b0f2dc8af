// SPDX-License-Identifier: GPL-2.0
// A replica: a volume that another host's is received into.
//
// Invariant: its origin is always what a snapshot of it holds, or between two of them in the midst
// of a stream, and then the receive state says so and the snapshot before is kept: it can go on or
// back.  One process receives at a time: it holds the lock of receiving.
#ifndef DDSNAP_TOOLS_ZUMASTOR_REPLICA_H_
#define DDSNAP_TOOLS_ZUMASTOR_REPLICA_H_

#include <string>

#include "../delta_receiver.h"
#include "live_volume.h"
#include "volume/volume_config.h"

namespace ddsnap {

// The volume's configuration.  EPERM: it is no replica.
[[nodiscard]] Result<VolumeConfig> ReplicaConfig(const std::string& volume);
// ENODEV, and what to do, if its origin has no device.
[[nodiscard]] Status RequireReplicaUp(const VolumeConfig& config);

// What it has received, without waking its server.  Named as `ddsnap delta receive` does.
[[nodiscard]] repl::FileReceiveLog ReceiveLogOf(const VolumeConfig& config);
// Its origin, and the state of what it has received.
[[nodiscard]] Result<DeltaReceiver> FindReceiver(const VolumeConfig& config);

// Whether a snapshot is there with its content.
[[nodiscard]] Result<bool> IsUsable(const LiveVolume& volume, Tag tag);
// Whether the origin is in the midst of a stream: one that is being received, or was cut off.
[[nodiscard]] Result<bool> IsBetweenSnapshots(const VolumeConfig& config);

// EBUSY, and what to do: the replica is in the midst of a stream, or no state that ever was.
[[nodiscard]] Status CheckNoStream(const VolumeConfig& config);
// A volume that ceases to be a replica has received nothing.  EBUSY as above.  The caller holds the lock of receiving until it is none.
[[nodiscard]] Status ForgetReceived(const VolumeConfig& config);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_REPLICA_H_
