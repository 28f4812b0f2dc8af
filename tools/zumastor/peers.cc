// SPDX-License-Identifier: GPL-2.0
#include "peers.h"

#include <algorithm>
#include <cerrno>

#include "dm/dm.h"
#include "live_volume.h"
#include "replica.h"
#include "report.h"
#include "service_manager.h"
#include "snapshotting.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

// A volume that is not up keeps its records for when it is.
Status ForgetRecord(const std::string& volume, const std::string& target) {
  auto live = LiveVolume::Open(volume);
  if (!live) return Pass(live);
  auto records = live->LoadRecords();
  if (!records) return Pass(records);
  if (target.empty()) {
    records->source = {};
  } else {
    records->targets.erase(target);
  }
  if (Status s = live->SaveRecords(*records); !s) return s;
  auto up = live->IsUp();
  if (!up || !*up) return {};
  // What only this target needed has had its time.
  if (Status s = ExpireSnapshots(*live); !s) Warn(s.error().text);
  return {};
}

Status ForgetSection(const std::string& volume, const std::string& section,
                     const std::string& what) {
  const ConfigFolder folder = ConfigFolder::Default();
  auto file = folder.LoadFile(volume);
  if (!file) return Pass(file);
  const auto sections = file->sections();
  if (std::ranges::find(sections, section) == sections.end())
    return Fail(ENOENT, volume + ": has no " + what);
  file->RemoveSection(section);
  return folder.Save(volume, *file);
}

}  // namespace

bool HasPeriod(const VolumeConfig& config) {
  return (config.source && !config.source->period.empty()) ||
         std::ranges::any_of(config.targets,
                             [](const TargetConfig& target) { return !target.period.empty(); });
}

Status SyncDeltaTimer(const std::string& volume) {
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return Pass(config);
  const std::string timer = DeltaTimerUnit(volume);
  // While it has its calendar still: without one it is refused, and the journal says so.
  if (!HasPeriod(*config) && IsLoaded(timer))
    if (Status s = Systemctl("stop", {timer}); !s) return s;
  if (Status s = Systemctl("daemon-reload", {}); !s) return s;
  // The timer belongs to a volume that is up.
  if (!HasPeriod(*config) || UnitProperty(VolumeUnit(volume), "ActiveState") != "active") return {};
  return Systemctl("restart", {timer});
}

Status ForgetTarget(const std::string& volume, const std::string& target) {
  if (Status s = CheckVolumeName(volume); !s) return s;
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  auto busy = CommandLock::OfTarget(volume, target);
  if (!busy) return Pass(busy);
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return Pass(config);
  // First, for without them it could not be forgotten whole.
  auto records = RecordsOf(*config);
  if (!records) return Pass(records);
  Status gone = ForgetSection(volume, TargetSection(target), "target " + target);
  if (!gone && gone.error().code == ENOENT) {
    // One that fetches is in the records alone.
    if (!records->targets.contains(target)) return gone;
  } else if (!gone) {
    return gone;
  }
  if (Status s = ForgetRecord(volume, target); !s) return s;
  return SyncDeltaTimer(volume);
}

Status ForgetSource(const std::string& volume) {
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return Pass(config);
  // Without the lock: who receives is not ended for a question.
  if (config->source) {
    config = ReplicaConfig(volume);
    if (!config) return Pass(config);
    if (Status s = CheckNoStream(*config); !s) return s;
  }
  {
    // Until it is no replica any more, and no longer: a sender that is about to begin ends who
    // holds it.
    auto receiving = CommandLock::OfReceiving(volume);
    if (!receiving) return Pass(receiving);
    if (config->source)
      if (Status s = ForgetReceived(*config); !s) return s;
    if (Status s = ForgetSection(volume, kSourceSection, "source"); !s) return s;
  }
  if (Status s = ForgetRecord(volume, ""); !s) return s;
  return SyncDeltaTimer(volume);
}

}  // namespace ddsnap
