// SPDX-License-Identifier: GPL-2.0
// The whole of a revert, for both tools.
//
// The store is told before the first byte of the origin changes and after the last has become
// durable.  Between the two it makes no snapshot, keeps the one that is reverted to, and says
// so in its status: a revert that was cut off is seen, and made good by running it again.
//
// Nobody may write to the origin between a revert that was cut off and the one that finishes it:
// what was written would be lost.  Who runs it again by hand has been told so.  Only the bring-up
// of a volume of zumastor finishes one unasked; so a volume of zumastor is reverted through a
// device that ends with the tool, while no other shows the origin, and none is made until it is
// over.
#ifndef DDSNAP_TOOLS_REVERTING_H_
#define DDSNAP_TOOLS_REVERTING_H_

#include <functional>
#include <optional>
#include <string>

#include "repl/revert.h"
#include "volume_devices.h"

namespace ddsnap {

struct RevertRequest {
  std::string socket;  // of the server
  Tag tag = 0;
  std::string own;  // see VolumeDevices
  // No other device may show the origin; without this, none of a volume of zumastor may.
  bool no_other_origin = false;
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct Reverted {
  repl::RevertSummary sum;
  uint64_t left_alone = 0;  // bytes of the origin past the snapshot's end
};

// EBUSY if the origin or the snapshot is mounted or open, or the origin has a device that it must
// not have; ENOSPC if the store might have to give other
// snapshots up for it, or the origin is smaller than the snapshot: nothing has changed then.
// EIO: all was reverted but what the snapshot has lost; the revert is not over.
[[nodiscard]] Result<Reverted> RevertOrigin(const RevertRequest& request);

// Tells the server that the origin is the snapshot again; waits for one that is being restarted.
[[nodiscard]] Status EndRevert(const std::string& socket, Tag tag);

// Ends a revert that was cut off, the origin left as it is.  ENOENT: there is none.
[[nodiscard]] Status CancelRevert(const std::string& socket);

// The snapshot that the server's status says the origin is being reverted to.
[[nodiscard]] std::optional<Tag> RevertUnderWay(const nlohmann::json& status);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_REVERTING_H_
