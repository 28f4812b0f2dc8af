// SPDX-License-Identifier: GPL-2.0
#include "replica.h"

#include <algorithm>
#include <cerrno>

#include "dm/dm.h"

namespace ddsnap {

Result<VolumeConfig> ReplicaConfig(const std::string& volume) {
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return config;
  if (!config->source)
    return Fail(EPERM, volume + ": is no replica: zumastor define source " + volume +
                           " HOST, and it becomes one");
  auto uuid = UuidOf(*config);
  if (!uuid) return Pass(uuid);
  config->uuid = *uuid;
  return config;
}

repl::FileReceiveLog ReceiveLogOf(const VolumeConfig& config) {
  return repl::FileReceiveLog(repl::FileReceiveLog::DefaultPath("volume-" + config.uuid));
}

Result<DeltaReceiver> FindReceiver(const VolumeConfig& config) {
  ReceiverOptions options;
  options.device = OriginPath(config.name);
  options.server = ServerSocket(config.name);
  options.state = ReceiveLogOf(config).path();
  return DeltaReceiver::Find(options);
}

Status RequireReplicaUp(const VolumeConfig& config) {
  // What it has received is not known then.
  if (auto records = RecordsOf(config); !records) return Pass(records);
  if (dm::NumberOfName(OriginDmName(config.name))) return {};
  return Fail(ENODEV, config.name + ": is not up; zumastor start " + config.name);
}

Result<bool> IsUsable(const LiveVolume& volume, Tag tag) {
  auto snapshots = volume.Snapshots();
  if (!snapshots) return Pass(snapshots);
  return std::ranges::any_of(*snapshots,
                             [tag](const LiveSnapshot& s) { return s.ok() && s.tag == tag; });
}

Result<bool> IsBetweenSnapshots(const VolumeConfig& config) {
  auto state = ReceiveLogOf(config).Load();
  if (!state) return Pass(state);
  return *state && !(*state)->complete;
}

Status CheckNoStream(const VolumeConfig& config) {
  auto state = ReceiveLogOf(config).Load();
  if (!state) return Pass(state);
  if (*state && !(*state)->complete)
    return Fail(EBUSY, config.name +
                           ": is in the midst of a stream, and no state that ever was; "
                           "zumastor receive " +
                           config.name + " --abort goes back to the snapshot before");
  auto records = RecordsOf(config);
  if (!records) return Pass(records);
  if (records->source.torn)
    return Fail(EBUSY, config.name +
                           ": is no state that ever was: zumastor revert brings it to a snapshot, "
                           "and zumastor receive " +
                           config.name + " --abort keeps it as it is");
  return {};
}

Status ForgetReceived(const VolumeConfig& config) {
  if (Status s = CheckNoStream(config); !s) return s;
  return ReceiveLogOf(config).Forget();
}

}  // namespace ddsnap
