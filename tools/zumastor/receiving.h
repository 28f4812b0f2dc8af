// SPDX-License-Identifier: GPL-2.0
// Receiving into a replica, from a connection that another host makes or that is made to it.
#ifndef DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_
#define DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_

#include <functional>
#include <string>

#include "../progress.h"
#include "../transmitting.h"
#include "live_volume.h"
#include "volume/volume_config.h"

namespace ddsnap {

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

// Fetches everything that a replica lacks from its source.  What became of it is remembered, and
// an event if it failed.
[[nodiscard]] Status Fetch(const std::string& volume, bool json);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_RECEIVING_H_
