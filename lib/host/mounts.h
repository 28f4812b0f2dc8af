// SPDX-License-Identifier: GPL-2.0
// Who uses a block device: mounts, swap, other block devices.
//
// Thread rule: one thread.
#ifndef DDSNAP_HOST_MOUNTS_H_
#define DDSNAP_HOST_MOUNTS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "io/device_number.h"

namespace ddsnap {

struct Mount {
  std::string target;
  std::string type;  // of the file system
  // Something else is mounted over it: `target` leads to that.
  bool hidden = false;
};

// Where the device's file system is mounted in this mount namespace, in the
// order of mounting.
[[nodiscard]] Result<std::vector<Mount>> MountsOf(const DeviceNumber& number);

// Whether something is mounted exactly at `target`, and if so the type of what is on top.
[[nodiscard]] Result<std::string> MountedAt(const std::string& target);

// The disk that it is a partition of, or the partitions that it is divided into: other
// devices with the same bytes.
[[nodiscard]] std::vector<DeviceNumber> OverlapsOf(const DeviceNumber& number);

// What keeps the device, or a partition of it, busy: "mounted at /srv",
// "part of /dev/dm-3 (vg-data)", "used as swap", "opened by a program"; empty if nothing does.
[[nodiscard]] Result<std::string> DescribeUse(const std::string& path);

}  // namespace ddsnap

#endif  // DDSNAP_HOST_MOUNTS_H_
