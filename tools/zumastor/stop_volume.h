// SPDX-License-Identifier: GPL-2.0
#ifndef DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_
#define DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_

#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

// Takes the volume down, after unmounting it from the mount point of its own
// configuration.  EBUSY, and nothing is changed, if it is in use otherwise.
[[nodiscard]] Status StopVolume(const VolumeConfig& config);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_STOP_VOLUME_H_
