// SPDX-License-Identifier: GPL-2.0
// A replica: a volume that another host's is received into.
//
// Invariant: its origin is always what a snapshot of it holds, or between two of them in the midst
// of a stream, and then the receive state says so and the snapshot before is kept: it can go on or
// back.  One process receives at a time: it holds the lock of receiving.
#ifndef DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_
#define DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_

#include <functional>
#include <string>

#include "../delta_receiver.h"
#include "../progress.h"
#include "../transmitting.h"
#include "live_volume.h"
#include "volume/volume_config.h"

namespace ddsnap {

// The origin of a replica, and the state of what it has received.
[[nodiscard]] Result<DeltaReceiver> FindReceiver(const VolumeConfig& config);

// The snapshot of what came last (state.after) belongs to the replica's rotation, and is what it
// shows.  `change`: what else is remembered.
[[nodiscard]] Status Adopt(LiveVolume& volume, const repl::ReceiveState& state,
                           const std::function<void(PeerRecord&)>& change);

// Serves one connection: tells what the replica holds, and does what the other side then sends.
// False: it has closed without sending anything.  An error has been told to the other side.
[[nodiscard]] Result<bool> ReceiveInto(const std::string& volume, Connection& connection,
                                       ProgressLine& line);

// Remembers why a replica did not take what another host sent, and tells it as an event.
void RememberRefusal(const std::string& volume, const Error& error);

// Whether the origin is in the midst of a stream: one that is being received, or was cut off.
[[nodiscard]] Result<bool> IsBetweenSnapshots(const VolumeConfig& config);

// Brings a replica back to what it was before the stream that was cut off.  Where the snapshot of
// that is gone, nobody knows what it holds: that is said, and remembered.  ENOENT: there is no such
// stream.
[[nodiscard]] Status GoBack(const std::string& volume);

// zumastor revert, of any volume.  A replica in the midst of a stream forgets how far that was.
[[nodiscard]] Result<Reverted> RevertVolume(const std::string& name, Tag tag,
                                            const LiveVolume::RevertProgress& progress);

// A volume that ceases to be a replica has received nothing.  EBUSY: it is in the midst of a
// stream.  The caller holds the lock of receiving until it is none.
[[nodiscard]] Status ForgetReceived(const VolumeConfig& config);

// Fetches everything that a replica lacks from its source.  What became of it is remembered, and
// an event if it failed.
[[nodiscard]] Status Fetch(const std::string& volume, bool json);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_
