// SPDX-License-Identifier: GPL-2.0
// What there is to say of a volume, as JSON: status and list print it.
#ifndef DDSNAP_TOOLS_ZUMASTOR_VOLUME_REPORT_H_
#define DDSNAP_TOOLS_ZUMASTOR_VOLUME_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

// {"volume", "state": "up|down|failed|bad-configuration", "origin", "store_device", "mountpoint"}
[[nodiscard]] nlohmann::json BriefReport(const std::string& name);

// The brief one, and of a volume that is up all that its server's status says
// (as `ddsnap status --json`), each snapshot with "rotations" and "folder"; "jobs"; and
// "problems": [{"what", "remedy"}].  "snapshots" is always there.
[[nodiscard]] Result<nlohmann::json> VolumeReport(const std::string& name);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_VOLUME_REPORT_H_
