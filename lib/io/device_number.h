// SPDX-License-Identifier: GPL-2.0
// Who a device is, whatever it is called.
#ifndef DDSNAP_IO_DEVICE_NUMBER_H_
#define DDSNAP_IO_DEVICE_NUMBER_H_

#include <compare>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace ddsnap {

struct DeviceNumber {
  uint32_t major = 0;
  uint32_t minor = 0;
  auto operator<=>(const DeviceNumber&) const = default;
};

// Of a block device.  A regular file, which may stand in for a device in tests,
// has a number that no device has: major 0xffff0000 and its inode.
[[nodiscard]] Result<DeviceNumber> NumberOf(const std::string& path);

// The size in bytes of a block device or regular file.
[[nodiscard]] Result<uint64_t> SizeOf(const std::string& path);

}  // namespace ddsnap

#endif  // DDSNAP_IO_DEVICE_NUMBER_H_
