// SPDX-License-Identifier: GPL-2.0
// The devices through which a snapshot's content is read.
#ifndef DDSNAP_TOOLS_SNAPSHOT_DEVICE_H_
#define DDSNAP_TOOLS_SNAPSHOT_DEVICE_H_

#include <memory>
#include <string>

#include "repl/content_device.h"
#include "repl/stream_head.h"
#include "server_volume.h"

namespace ddsnap {

// Opens the device-mapper device of a snapshot of the server's at `socket`, whatever
// its name.  If there is none, one is made that the kernel removes when it is
// closed, however this process ends; for that the origin, or another snapshot,
// must have a device.
[[nodiscard]] Result<std::unique_ptr<repl::ContentDevice>> OpenSnapshot(
    const std::string& socket, const Uuid& volume, const repl::SnapshotId& snapshot);

// Whether the origin, which is open as `origin`, holds what the snapshot does: nothing was
// written since, or the same again.  Reads what was written at or above byte `from`; what lies
// below does not count.
[[nodiscard]] Result<bool> OriginHolds(ControlClient& client, const std::string& socket,
                                       const ServerVolume& volume, const repl::SnapshotId& snapshot,
                                       const repl::ContentDevice& origin, uint64_t from = 0);

// Whether the device is the origin of the server at `socket`, by a ddsnap device that tells that of
// every write to it.
[[nodiscard]] bool IsOriginOf(const std::string& socket, const std::string& path);

// What device-mapper knows of a device: is it a ddsnap origin, or a snapshot?
struct DownstreamDevice {
  bool origin = false;
  bool snapshot = false;
  std::string dm_name;
};
[[nodiscard]] DownstreamDevice LookUp(const std::string& path);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_SNAPSHOT_DEVICE_H_
