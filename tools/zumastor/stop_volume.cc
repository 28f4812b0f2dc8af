// SPDX-License-Identifier: GPL-2.0
#include "stop_volume.h"

#include <cerrno>

#include "dm/dm.h"
#include "host/mounts.h"
#include "live_volume.h"
#include "report.h"
#include "service_manager.h"
#include "volume/records.h"
#include "volume/unit_name.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

// Whether the only use is the mount that our own unit has made.
bool IsOwnMount(const VolumeConfig& config, const dm::DeviceNumber& number) {
  auto mounts = MountsOf({number.major, number.minor});
  return mounts && mounts->size() == 1 && mounts->front().target == config.mountpoint;
}

Status CheckNotReplicating(const VolumeConfig& config) {
  auto records = RecordsOf(config);
  if (!records) return {};
  bool busy = CommandLock::IsReceiving(config.name);
  for (const std::string& peer : PeersOf(config, *records))
    busy = busy || CommandLock::HolderOfTarget(config.name, peer);
  if (!busy) return {};
  return Fail(EBUSY, config.name + ": is being replicated; zumastor replicate " + config.name +
                         " --abort ends that");
}

// Frees the origin, as far as that is ours to do.  If that is not enough, all is as before.
Status CheckUnused(const VolumeConfig& config) {
  const std::string dm_name = OriginDmName(config.name);
  auto number = dm::NumberOfName(dm_name);
  if (!number) return {};
  const std::string mount = EscapeUnitPath(config.mountpoint) + ".mount";
  const bool own = IsOwnMount(config, *number);
  if (own)
    if (Status s = Systemctl("stop", {mount}); !s) return s;
  auto use = DescribeUse("/dev/mapper/" + dm_name);
  if (use && use->empty()) return {};
  // It may be mounted elsewhere, where we do not see it: in a container.
  if (own)
    if (Status s = Systemctl("start", {mount}); !s) Warn(s.error().text);
  return use ? Status(Fail(EBUSY, config.name + ": " + *use)) : Pass(use);
}

// Of a unit that is not active: it runs no command to stop.  What an earlier stop has left goes.
Status TakeDownRest(const std::string& name) {
  auto left = DeviceLeft(name);
  if (!left) return Pass(left);
  if (left->empty()) return {};
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  if (Status s = volume->TakeDown(); !s) return s;
  (void)Systemctl("reset-failed", {VolumeUnit(name)});
  return {};
}

// The service manager takes a unit for stopped whatever its stop command says: so its state is
// looked at, and what is there.
Status StopUnit(const std::string& name) {
  const std::string unit = VolumeUnit(name);
  const std::string before = UnitProperty(unit, "ActiveState");
  if (Status s = Systemctl("stop", {unit}); !s) return s;
  if (before == "failed" || before == "inactive") return TakeDownRest(name);
  auto left = DeviceLeft(name);
  if (!left) return Pass(left);
  if (left->empty() && UnitProperty(unit, "ActiveState") != "failed") return {};
  const std::string told = UnitProperty(unit, "StatusText");
  if (!told.empty()) return Fail(EBUSY, told);
  return Fail(EBUSY, name + (left->empty() ? ": could not be stopped" : ": " + *left + " is left"));
}

}  // namespace

Result<std::string> DeviceLeft(const std::string& volume) {
  auto devices = DevicesOf(volume);
  // No device-mapper, no devices.
  if (!devices && (devices.error().code == ENOENT || devices.error().code == ENODEV))
    return std::string();
  if (!devices) return Pass(devices);
  return devices->empty() ? std::string() : devices->front().name;
}

Status StopVolume(const VolumeConfig& config) {
  if (Status s = CheckNotReplicating(config); !s) return s;
  if (Status s = CheckUnused(config); !s) return s;
  const Status stopped = StopUnit(config.name);
  // Without its unit an origin would go on with no schedule, and some of its snapshots.
  if (!stopped && dm::NumberOfName(OriginDmName(config.name)))
    if (Status s = Systemctl("start", {VolumeUnit(config.name)}); !s) Warn(s.error().text);
  return stopped;
}

}  // namespace ddsnap
