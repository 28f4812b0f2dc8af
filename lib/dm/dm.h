// SPDX-License-Identifier: GPL-2.0
// The few device-mapper requests that daemons and tools make, by libdevmapper.
//
// Thread rule: one thread; calls block for one ioctl each.  Device-mapper may take
// its time: daemons that must not wait call from a child process.
#ifndef DDSNAP_DM_DM_H_
#define DDSNAP_DM_DM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace ddsnap::dm {

struct DeviceNumber {
  uint32_t major = 0;
  uint32_t minor = 0;
  bool operator==(const DeviceNumber&) const = default;
};

// A live device whose table is one line "0 N ddsnap STORE ORIGIN SOCKET TAG".
struct DdsnapDevice {
  std::string name;
  std::string uuid;  // may be empty
  DeviceNumber number;
  DeviceNumber store, origin;
  std::string socket;
  std::string tag;  // as in the table: "-1" for the origin
  uint64_t sectors = 0;
};

// Sends `message` to the target of the device.
[[nodiscard]] Status SendMessage(const DeviceNumber& device, const std::string& message);

// All of this machine.  ENOENT, ENODEV or EACCES where there is no device-mapper for us.
[[nodiscard]] Result<std::vector<DdsnapDevice>> ListDdsnapDevices();

// Of the device with this name.  ENXIO if there is none.
[[nodiscard]] Result<DeviceNumber> NumberOfName(const std::string& name);

// The name of the device with this number, from sysfs; empty if it is none of device-mapper's.
[[nodiscard]] std::string NameOf(const DeviceNumber& number);

// How many have the device with this name open.  ENXIO if there is none.
[[nodiscard]] Result<uint32_t> OpenCount(const std::string& name);

// A device to be, of one target.
struct NewDevice {
  std::string name;
  std::string uuid;  // for udev rules; unique, or empty
  uint64_t sectors = 0;
  std::string target;
  std::string params;
  bool read_only = false;
  bool hidden = false;  // nobody is to look at it: no names by what it holds, no mounts
};

// Makes the device and waits until udev has made its names.  EEXIST (as EBUSY
// from older kernels) if the name or UUID is taken.  A constructor that fails
// leaves no device behind.
[[nodiscard]] Status CreateDevice(const NewDevice& device);
// Gives a live device another table, of one target: loads it, and switches over while the
// device is suspended for a moment.  On an error the old table goes on; only if it cannot even be
// resumed the device stays suspended, and the error says so.
[[nodiscard]] Status ReloadDevice(const NewDevice& device);
// Removes it and waits for udev.  ENXIO if there is none; EBUSY if somebody
// has it open, after trying for some seconds: udev itself may have it.
[[nodiscard]] Status RemoveDevice(const std::string& name);

// Has the kernel remove it when the last who has it open closes it, whoever
// that is and however it ends; at once if nobody has.
[[nodiscard]] Status RemoveWhenUnused(const std::string& name);

}  // namespace ddsnap::dm

#endif  // DDSNAP_DM_DM_H_
