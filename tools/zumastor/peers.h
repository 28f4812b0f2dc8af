// SPDX-License-Identifier: GPL-2.0
// Targets and sources as the configuration and the service manager know them.
#ifndef DDSNAP_TOOLS_ZUMASTOR_PEERS_H_
#define DDSNAP_TOOLS_ZUMASTOR_PEERS_H_

#include <string>

#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

// The timer of a volume that is up, as its configuration has it now; the service manager reads that
// once more.
[[nodiscard]] Status SyncDeltaTimer(const std::string& volume);

// Takes a target, or the source, out of the configuration and the records.  The snapshots stay.
[[nodiscard]] Status ForgetTarget(const std::string& volume, const std::string& target);
[[nodiscard]] Status ForgetSource(const std::string& volume);

// The calendars that something of the volume is to be replicated by.
[[nodiscard]] bool HasPeriod(const VolumeConfig& config);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_PEERS_H_
