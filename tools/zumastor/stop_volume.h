// SPDX-License-Identifier: GPL-2.0
#ifndef DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_
#define DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_

#include <string>

#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

// Takes the volume down, after unmounting it from the mount point of its own
// configuration.  EBUSY if it or a snapshot is in use otherwise: then it goes on as before, as far
// as its origin's device is there.
[[nodiscard]] Status StopVolume(const VolumeConfig& config);

// The name of a device that device-mapper has of the volume, the origin's or a snapshot's; empty
// if there is none.
[[nodiscard]] Result<std::string> DeviceLeft(const std::string& volume);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_
