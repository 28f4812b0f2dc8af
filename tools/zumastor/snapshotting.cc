// SPDX-License-Identifier: GPL-2.0
#include "snapshotting.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <memory>
#include <set>
#include <thread>

#include "hooks.h"
#include "host/event_queue.h"
#include "host/freeze.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "report.h"
#include "snapshot_mounts.h"
#include "volume/rotation.h"

namespace ddsnap {
namespace {

// The kernel's barrier and a commit; a database must not wait longer for its disk.
constexpr uint64_t kFreezeLimitMs = 10000;

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ",") + word;
  return joined;
}

// A place where the volume's file system can be reached; any does for freezing all of it.
std::string Mountpoint(const LiveVolume& volume) {
  auto number = NumberOf(OriginPath(volume.name()));
  auto mounts = number ? MountsOf(*number) : Result<std::vector<Mount>>(std::vector<Mount>());
  if (!mounts) return "";
  for (const Mount& mount : *mounts)
    if (!mount.hidden) return mount.target;
  return "";
}

// What is used, but cannot be frozen from here: by a container's mount, a logical volume, a
// virtual machine.
void WarnIfUsed(const LiveVolume& volume) {
  auto use = DescribeUse(OriginPath(volume.name()));
  if (use && !use->empty())
    Warn(volume.name() + ": " + *use +
         ", which is not frozen; the snapshot is as after a power cut");
}

void RunAround(const LiveVolume& volume, const std::string& kind, const HookEnvironment& env) {
  for (const Error& failed : RunHooks(kind, env)) {
    Warn(volume.name() + ": " + failed.text);
    ReportEvent(LOG_WARNING, kHookFailedEvent, volume.name(), failed.text);
  }
}

// Two snapshots of one second would have one folder.
void AwaitFreshSecond(const std::vector<LiveSnapshot>& snapshots) {
  if (snapshots.empty()) return;
  for (;;) {
    const time_t now = ::time(nullptr);
    tm parts{};
    char text[32];
    if (::gmtime_r(&now, &parts) == nullptr) return;
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (snapshots.back().created != text) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// The server makes it while the file system is still.
Status CreateFrozen(const LiveVolume& volume, Tag tag, const std::string& mountpoint) {
  auto frozen = mountpoint.empty() ? Result<FrozenFileSystem>(Fail(EOPNOTSUPP, ""))
                                   : FrozenFileSystem::Freeze(mountpoint, kFreezeLimitMs);
  if (mountpoint.empty()) {
    WarnIfUsed(volume);
  } else if (!frozen) {
    Warn(volume.name() + ": " + frozen.error().text + "; the snapshot is as after a power cut");
  }
  auto answer = volume.Ask({{"verb", "create"}, {"tag", tag}});
  const Status thawed = frozen ? frozen->Thaw() : Status();
  if (!answer) return Pass(answer);
  if (!thawed) Warn(volume.name() + ": " + thawed.error().text);
  return {};
}

std::vector<Tag> Usable(const std::vector<LiveSnapshot>& snapshots) {
  std::vector<Tag> tags;
  for (const LiveSnapshot& snapshot : snapshots)
    if (snapshot.ok()) tags.push_back(snapshot.tag);
  return tags;
}

// Records of snapshots that are no more.
void DropStale(const std::vector<LiveSnapshot>& snapshots, Records* records) {
  std::erase_if(records->snapshots, [&](const auto& record) {
    return std::ranges::none_of(snapshots, [&](const auto& s) { return s.tag == record.first; });
  });
}

Tag NextTag(const std::vector<LiveSnapshot>& snapshots, const Records& records) {
  Tag next = records.next_tag;
  for (const LiveSnapshot& snapshot : snapshots)
    if (snapshot.tag >= next && snapshot.tag < kMaxTag) next = snapshot.tag + 1;
  return next;
}

}  // namespace

Result<Rotation> FindRotation(const VolumeConfig& config, const std::string& name) {
  const auto it = std::ranges::find(config.rotations, name, &Rotation::name);
  if (it != config.rotations.end()) return *it;
  return Fail(ENOENT, config.name + ": its schedule has no rotation " + name);
}

Result<Tag> MakeSnapshot(LiveVolume& volume, const std::vector<std::string>& rotations) {
  // In the midst of a stream its origin is no state that ever was.
  if (const auto& source = volume.config().source)
    return Fail(EPERM, volume.name() + ": is a replica: its snapshots come from " + source->name);
  auto snapshots = volume.Snapshots();
  if (!snapshots) return Pass(snapshots);
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  DropStale(*snapshots, &*records);
  const Tag tag = NextTag(*snapshots, *records);
  const std::string mountpoint = Mountpoint(volume);
  const HookEnvironment env = {{"ZUMASTOR_VOLUME", volume.name()},
                               {"ZUMASTOR_TAG", std::to_string(tag)},
                               {"ZUMASTOR_ROTATION", Join(rotations)},
                               {"ZUMASTOR_MOUNTPOINT", mountpoint}};
  // Before the snapshot: one that nobody knows of would never be deleted.  If
  // it is not made after all, its record is dropped next time.
  records->next_tag = tag + 1;
  if (!rotations.empty()) records->snapshots[tag] = {rotations};
  if (Status s = volume.SaveRecords(*records); !s) return Pass(s);
  RunAround(volume, "pre-snapshot", env);
  AwaitFreshSecond(*snapshots);
  const Status made = CreateFrozen(volume, tag, mountpoint);
  RunAround(volume, "post-snapshot", env);
  if (!made) return std::unexpected(made.error());
  // The snapshot is there: its names are another matter.
  if (Status s = volume.AttachSnapshot(tag); !s) Warn(s.error().text);
  if (auto now = volume.Snapshots())
    if (Status s = SyncSnapshotMounts(volume, *now); !s) Warn(s.error().text);
  return tag;
}

Status ExpireSnapshots(LiveVolume& volume) {
  auto snapshots = volume.Snapshots();
  if (!snapshots) return Pass(snapshots);
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  DropStale(*snapshots, &*records);
  const std::vector<Tag> usable = Usable(*snapshots);
  for (const Rotation& rotation : KeptRotations(volume.config(), *records))
    (void)Expire(rotation, usable, &*records);
  if (Status s = volume.SaveRecords(*records); !s) return s;
  // Those of an earlier time that were in use then are here as well, and those that were given up.
  const std::set<Tag> held = HeldSnapshots(*records);
  Status all;
  for (const LiveSnapshot& snapshot : *snapshots) {
    const auto record = records->snapshots.find(snapshot.tag);
    if (record == records->snapshots.end()) continue;
    if (snapshot.ok() && !record->second.rotations.empty()) continue;
    if (held.contains(snapshot.tag) && snapshot.state != "given-up") {
      if (!snapshot.ok() || !MayBeBookmark(*records, snapshot.tag, ::time(nullptr))) continue;
      if (Status s = volume.BookmarkSnapshot(snapshot.tag); !s && all) all = s;
      continue;
    }
    if (Status s = volume.DeleteSnapshot(snapshot.tag); !s && all) all = s;
  }
  if (auto now = volume.Snapshots())
    if (Status s = SyncSnapshotMounts(volume, *now); !s && all) all = s;
  return all;
}

}  // namespace ddsnap
