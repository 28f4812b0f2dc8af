// SPDX-License-Identifier: GPL-2.0
#include "service_manager.h"

#include <systemd/sd-daemon.h>

#include <cerrno>
#include <sstream>

#include "host/command.h"

namespace ddsnap {

std::string VolumeUnit(const std::string& volume) { return "zumastor@" + volume + ".service"; }
std::string ServerUnit(const std::string& volume) {
  return "zumastor-server@" + volume + ".service";
}
std::string ServerSocketUnit(const std::string& volume) {
  return "zumastor-server@" + volume + ".socket";
}
std::string SnapshotTimerUnit(const std::string& volume) {
  return "zumastor-snapshot@" + volume + ".timer";
}
std::string DeltaTimerUnit(const std::string& volume) {
  return "zumastor-delta@" + volume + ".timer";
}
std::string DeltaUnit(const std::string& volume) { return "zumastor-delta@" + volume + ".service"; }
std::string RestUnit(const std::string& volume) { return "zumastor-rest@" + volume + ".service"; }

Status Systemctl(const std::string& verb, const std::vector<std::string>& units) {
  std::vector<std::string> argv = {"systemctl", "--quiet", verb};
  argv.insert(argv.end(), units.begin(), units.end());
  auto result = RunCommand(argv);
  if (!result) return Pass(result);
  if (result->status == 0) return {};
  for (const std::string& unit : units) {
    const std::string told = UnitProperty(unit, "StatusText");
    if (!told.empty()) return Fail(EIO, told);
  }
  const std::string line = LastLine(result->output);
  return Fail(EIO, "systemctl " + verb + ": " + (line.empty() ? "failed" : line));
}

std::string UnitProperty(const std::string& unit, const std::string& property) {
  auto result = RunCommand({"systemctl", "show", "--value", "-p", property, "--", unit});
  return result && result->status == 0 ? LastLine(result->output) : "";
}

bool HasItsMounts(const std::string& unit) {
  std::istringstream required(UnitProperty(unit, "Requires"));
  for (std::string one; required >> one;)
    if (one.ends_with(".mount") && UnitProperty(one, "ActiveState") != "active") return false;
  return true;
}

bool IsLoaded(const std::string& unit) {
  auto result =
      RunCommand({"systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", unit});
  return result && result->output.find(unit) != std::string::npos;
}

void TellFailure(const Error& error) {
  (void)sd_notifyf(0, "STATUS=%s\nERRNO=%d", error.text.c_str(), error.code);
}

void TellProgress(const std::string& text) {
  (void)sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=60000000", text.c_str());
}

}  // namespace ddsnap
