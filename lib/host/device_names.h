// SPDX-License-Identifier: GPL-2.0
// Names of block devices, which udev makes: by libudev.
//
// Thread rule: one thread.
#ifndef DDSNAP_HOST_DEVICE_NAMES_H_
#define DDSNAP_HOST_DEVICE_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/device_number.h"

namespace ddsnap {

// Waits until `path` is a block device.  ETIMEDOUT, with the name, when it
// does not come within `timeout_ms`.
[[nodiscard]] Status WaitForDevice(const std::string& path, uint64_t timeout_ms);

// Waits until `path` names the device with this number.
[[nodiscard]] Status WaitForName(const std::string& path, const DeviceNumber& number,
                                 uint64_t timeout_ms);

// All names that udev has given the device, each with /dev/ in front.
[[nodiscard]] Result<std::vector<std::string>> NamesOf(const DeviceNumber& number);

// A name for a configuration file: one that stays with the device when others
// come and go, and that does not follow from its contents; `path`, links resolved, if
// there is no better one.
[[nodiscard]] std::string StableName(const std::string& path);

// Has udev look at the device again, and waits until it has.  Without udev
// nothing happens.
[[nodiscard]] Status Retrigger(const DeviceNumber& number, uint64_t timeout_ms);

// Whether a name follows from what the device holds (by-uuid, by-label, a physical volume's): a
// device and its snapshot would both have it.
[[nodiscard]] bool IsContentName(std::string_view path);

}  // namespace ddsnap

#endif  // DDSNAP_HOST_DEVICE_NAMES_H_
