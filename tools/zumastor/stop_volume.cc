// SPDX-License-Identifier: GPL-2.0
#include "stop_volume.h"

#include <cerrno>

#include "dm/dm.h"
#include "host/mounts.h"
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
  auto records = RecordFolder::Default().Load(config.name, config.uuid);
  if (!records) return {};
  bool busy = CommandLock::IsReceiving(config.name);
  for (const std::string& peer : PeersOf(config, *records))
    busy = busy || CommandLock::HolderOfTarget(config.name, peer);
  if (!busy) return {};
  return Fail(EBUSY, config.name + ": is being replicated; zumastor replicate " + config.name +
                         " --abort ends that");
}

}  // namespace

// The service manager takes a unit for stopped whatever its stop command says:
// what is in use is found out before it is asked.
Status StopVolume(const VolumeConfig& config) {
  if (Status s = CheckNotReplicating(config); !s) return s;
  const std::string dm_name = OriginDmName(config.name);
  if (auto number = dm::NumberOfName(dm_name)) {
    if (IsOwnMount(config, *number)) {
      const std::string mount = EscapeUnitPath(config.mountpoint) + ".mount";
      if (Status s = Systemctl("stop", {mount}); !s) return s;
    }
    auto use = DescribeUse("/dev/mapper/" + dm_name);
    if (!use) return Pass(use);
    if (!use->empty()) return Fail(EBUSY, config.name + ": " + *use);
  }
  if (Status s = Systemctl("stop", {VolumeUnit(config.name)}); !s) return s;
  if (!dm::NumberOfName(dm_name)) return {};
  const std::string told = UnitProperty(VolumeUnit(config.name), "StatusText");
  return Fail(EBUSY, told.empty() ? config.name + ": is still up" : told);
}

}  // namespace ddsnap
