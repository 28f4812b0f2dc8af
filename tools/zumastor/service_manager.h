// SPDX-License-Identifier: GPL-2.0
// What is asked of the service manager, by systemctl(1).
#ifndef DDSNAP_TOOLS_ZUMASTOR_SERVICE_MANAGER_H_
#define DDSNAP_TOOLS_ZUMASTOR_SERVICE_MANAGER_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace ddsnap {

[[nodiscard]] std::string VolumeUnit(const std::string& volume);  // zumastor@NAME.service
[[nodiscard]] std::string ServerUnit(const std::string& volume);  // zumastor-server@NAME.service
[[nodiscard]] std::string ServerSocketUnit(
    const std::string& volume);  // zumastor-server@NAME.socket
[[nodiscard]] std::string SnapshotTimerUnit(
    const std::string& volume);  // zumastor-snapshot@NAME.timer
[[nodiscard]] std::string DeltaTimerUnit(const std::string& volume);  // zumastor-delta@NAME.timer
[[nodiscard]] std::string DeltaUnit(const std::string& volume);       // zumastor-delta@NAME.service
[[nodiscard]] std::string RestUnit(const std::string& volume);        // zumastor-rest@NAME.service

// `systemctl VERB UNIT...`; waits for the jobs.  The error of a unit that fails is the
// reason that its program gave.
[[nodiscard]] Status Systemctl(const std::string& verb, const std::vector<std::string>& units);

// A property of a unit as systemctl prints it; empty if there is none.
[[nodiscard]] std::string UnitProperty(const std::string& unit, const std::string& property);

// Whether all mounts that the unit requires are there; true where there is no service manager.
[[nodiscard]] bool HasItsMounts(const std::string& unit);

// Whether the service manager knows the unit already.  Asking for a property would load it, and the
// journal would say what is wrong with one that is not meant to be there.
[[nodiscard]] bool IsLoaded(const std::string& unit);

// Tells the service manager, if it started us, why we failed: what Systemctl
// then reports where somebody waits.
void TellFailure(const Error& error);

// Tells it that the work goes on, and that it shall wait another minute.
void TellProgress(const std::string& text);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_SERVICE_MANAGER_H_
