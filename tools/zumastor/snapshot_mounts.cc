// SPDX-License-Identifier: GPL-2.0
#include "snapshot_mounts.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "cli/options.h"
#include "dm/dm.h"
#include "host/command.h"
#include "host/mounts.h"
#include "io/signature.h"
#include "live_volume.h"
#include "service_manager.h"
#include "volume/rotation.h"
#include "volume/unit_name.h"

namespace ddsnap {
namespace {

namespace fs = std::filesystem;

std::string FolderOf(const std::string& volume) { return "/run/zumastor/snapshot/" + volume; }
// Links TAG -> folder: which snapshot each folder is.
std::string IndexOf(const std::string& volume) { return "/run/zumastor/mounts/" + volume; }

// A snapshot must neither be written to, by replaying its journal, nor be taken
// for the mounted origin, whose UUID it has.
std::string OptionsFor(const std::string& type) {
  const std::string always = "ro,nosuid,nodev";
  if (type == "xfs") return always + ",norecovery,nouuid";
  if (type == "f2fs") return always + ",norecovery";
  if (type == "ext3" || type == "ext4") return always + ",noload";
  return always;
}

// btrfs tells its devices apart by their UUIDs alone, so that a snapshot beside
// its origin would be taken for a part of it.
bool MayBeMounted(const std::string& type) { return !type.empty() && type != "btrfs"; }

// After the volume: so it ends before it.  --collect: an unmount that failed once is no failed
// unit for ever.
Status MountSnapshot(const LiveVolume& volume, Tag tag, const std::string& type,
                     const std::string& path, const std::vector<std::string>& how) {
  std::vector<std::string> argv = {"systemd-mount",
                                   "--quiet",
                                   "--collect",
                                   "--fsck=no",
                                   "--type=" + type,
                                   "--options=" + OptionsFor(type),
                                   "--property=After=" + VolumeUnit(volume.name())};
  argv.insert(argv.end(), how.begin(), how.end());
  argv.push_back("--description=Snapshot " + std::to_string(tag) + " of volume " + volume.name());
  argv.push_back(SnapshotPath(volume.name(), tag));
  argv.push_back(path);
  return RunCommandOk(argv);
}

Status AddMount(const LiveVolume& volume, Tag tag, const std::string& folder) {
  const std::string device = SnapshotPath(volume.name(), tag);
  auto type = FindFileSystem(device);
  if (!type) return Pass(type);
  if (!MayBeMounted(*type)) return {};
  const std::string path = FolderOf(volume.name()) + "/" + folder;
  std::error_code error;
  fs::create_directories(path, error);
  fs::create_directories(IndexOf(volume.name()), error);
  if (error) return Fail(error.value(), path + ": " + error.message());
  // --no-block: while the volume comes up, mounts still wait for it.
  Status s = MountSnapshot(volume, tag, *type, path,
                           {"--no-block", "--automount=yes", "--timeout-idle-sec=60",
                            "--automount-property=After=" + VolumeUnit(volume.name())});
  if (!s) return s;
  fs::create_symlink(path, IndexOf(volume.name()) + "/" + std::to_string(tag), error);
  return {};
}

// Stops the automount and what it has mounted.  EBUSY if that is in use, and all is as before: the
// mount goes first, for an automount that stops takes along, lazily, whatever is mounted on it.
Status RemoveMount(const std::string& path) {
  const std::string unit = EscapeUnitPath(path);
  auto mounted = MountedAt(path);
  if (!mounted) return Pass(mounted);
  if (!mounted->empty() && *mounted != "autofs") {
    (void)Systemctl("stop", {unit + ".mount"});
    mounted = MountedAt(path);
    if (!mounted) return Pass(mounted);
    if (!mounted->empty() && *mounted != "autofs") return Fail(EBUSY, path + ": in use");
  }
  (void)Systemctl("stop", {unit + ".automount"});
  mounted = MountedAt(path);
  if (!mounted) return Pass(mounted);
  if (!mounted->empty()) return Fail(EBUSY, path + ": in use");
  std::error_code error;
  fs::remove(path, error);
  return {};
}

std::map<Tag, std::string> ReadIndex(const std::string& volume) {
  std::map<Tag, std::string> index;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(IndexOf(volume), error)) {
    auto tag = ParseTag(entry.path().filename());
    auto path = fs::read_symlink(entry.path(), error);
    if (tag && !error) index[*tag] = path;
  }
  return index;
}

// Links are replaced one by one, each as a whole.
Status SyncLinks(const LiveVolume& volume, const std::vector<LiveSnapshot>& snapshots) {
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  const auto index = ReadIndex(volume.name());
  std::vector<Tag> mounted;
  for (const LiveSnapshot& snapshot : snapshots)
    if (snapshot.ok() && index.contains(snapshot.tag)) mounted.push_back(snapshot.tag);
  std::set<std::string> wanted;
  std::error_code error;
  const fs::path folder = FolderOf(volume.name());
  for (const auto& [name, tag] : RotationLinks(mounted, *records)) {
    wanted.insert(name);
    const fs::path target = fs::path(index.at(tag)).filename();
    if (fs::read_symlink(folder / name, error) == target) continue;
    fs::remove(folder / ".new", error);
    fs::create_symlink(target, folder / ".new", error);
    if (!error) fs::rename(folder / ".new", folder / name, error);
    if (error) return Fail(error.value(), (folder / name).string() + ": " + error.message());
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_symlink(error) && !wanted.contains(entry.path().filename()))
      fs::remove(entry.path(), error);
  }
  return {};
}

}  // namespace

std::string FolderName(const std::string& created) {
  std::string name = created.substr(0, created.find('Z'));
  std::ranges::replace(name, '-', '.');
  std::ranges::replace(name, ':', '.');
  std::ranges::replace(name, 'T', '-');
  return name;
}

Status UnmountSnapshot(const LiveVolume& volume, Tag tag) {
  const std::string link = IndexOf(volume.name()) + "/" + std::to_string(tag);
  std::error_code error;
  const fs::path path = fs::read_symlink(link, error);
  if (error) return {};
  if (Status s = RemoveMount(path); !s) return s;
  fs::remove(link, error);
  return {};
}

Status SyncSnapshotMounts(const LiveVolume& volume, const std::vector<LiveSnapshot>& snapshots) {
  const auto index = ReadIndex(volume.name());
  std::set<Tag> wanted;
  Status all;
  for (const LiveSnapshot& snapshot : snapshots) {
    if (!snapshot.ok()) continue;
    wanted.insert(snapshot.tag);
    if (index.contains(snapshot.tag)) continue;
    if (Status s = AddMount(volume, snapshot.tag, FolderName(snapshot.created)); !s && all) all = s;
  }
  for (const auto& [tag, path] : index) {
    if (wanted.contains(tag)) continue;
    if (Status s = UnmountSnapshot(volume, tag); !s && all) all = s;
  }
  if (Status s = SyncLinks(volume, snapshots); !s && all) all = s;
  return all;
}

namespace {

// Whether a snapshot of the volume is what is mounted at its mount point, and which.
std::optional<Tag> Shown(const LiveVolume& volume) {
  auto snapshots = dm::ListDdsnapDevices();
  if (!snapshots) return std::nullopt;
  for (const dm::DdsnapDevice& device : *snapshots) {
    if (!device.name.starts_with(OriginDmName(volume.name()) + "@")) continue;
    auto mounts = MountsOf({device.number.major, device.number.minor});
    auto tag = ParseTag(device.tag);
    if (!mounts || !tag) continue;
    for (const Mount& mount : *mounts)
      if (mount.target == volume.config().mountpoint && !mount.hidden) return *tag;
  }
  return std::nullopt;
}

bool IsShownReplica(const LiveVolume& volume) {
  return volume.config().source && !volume.config().mountpoint.empty();
}

// The unit of the mount that was there is gone when it has ended: then its name is free.
bool AwaitGone(const std::string& unit) {
  for (int i = 0; i < 100; ++i) {
    if (UnitProperty(unit, "ActiveState") == "inactive") return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

}  // namespace

Status ShowReplica(const LiveVolume& volume, bool wait) {
  if (!IsShownReplica(volume)) return {};
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  const auto newest = records->source.held;
  const auto shown = Shown(volume);
  if (!newest || shown == newest) return {};
  auto type = FindFileSystem(SnapshotPath(volume.name(), *newest));
  if (!type) return Pass(type);
  if (!MayBeMounted(*type)) return {};
  const std::string& path = volume.config().mountpoint;
  const std::string unit = EscapeUnitPath(path) + ".mount";
  if (shown) {
    // Lazily: whoever reads the one before shall not be the reason that all see old data.
    if (Status s = RunCommandOk({"umount", "--lazy", path}); !s) return s;
    if (!AwaitGone(unit)) return Fail(EBUSY, path + ": its unit does not end");
  }
  auto other = MountedAt(path);
  if (!other) return Pass(other);
  if (!other->empty()) return Fail(EBUSY, path + ": something else is mounted there");
  std::vector<std::string> how;
  if (!wait) how.emplace_back("--no-block");
  return MountSnapshot(volume, *newest, *type, path, how);
}

Status HideReplica(const LiveVolume& volume) {
  if (volume.config().mountpoint.empty() || !Shown(volume)) return {};
  const std::string& path = volume.config().mountpoint;
  (void)Systemctl("stop", {EscapeUnitPath(path) + ".mount"});
  return Shown(volume) ? Status(Fail(EBUSY, path + ": in use")) : Status();
}

Status RemoveSnapshotMounts(const std::string& volume) {
  for (const auto& [tag, path] : ReadIndex(volume))
    if (Status s = RemoveMount(path); !s) return s;
  std::error_code error;
  fs::remove_all(IndexOf(volume), error);
  const std::string folder = FolderOf(volume);
  // Links and empty folders, never the contents of something mounted.
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code ignored;
    fs::remove(entry.path(), ignored);
  }
  fs::remove(folder, error);
  return {};
}

}  // namespace ddsnap
