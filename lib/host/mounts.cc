// SPDX-License-Identifier: GPL-2.0
#include "host/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <libmount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>

#include "base/fd.h"

namespace ddsnap {
namespace {

using MountTable = std::unique_ptr<libmnt_table, decltype(&mnt_unref_table)>;

Result<MountTable> ReadTable(const char* path) {
  MountTable table(mnt_new_table(), mnt_unref_table);
  if (!table) return FailErrno(ENOMEM, path);
  if (const int rc = mnt_table_parse_file(table.get(), path); rc < 0) return FailErrno(-rc, path);
  return table;
}

// Btrfs and others have numbers of their own, but name their device.
bool IsOf(libmnt_fs* fs, const DeviceNumber& number) {
  const dev_t wanted = makedev(number.major, number.minor);
  if (mnt_fs_get_devno(fs) == wanted) return true;
  const char* source = mnt_fs_get_srcpath(fs);
  struct stat st {};
  return source != nullptr && source[0] == '/' && ::stat(source, &st) == 0 &&
         S_ISBLK(st.st_mode) && st.st_rdev == wanted;
}

// By the number that the kernel gives each mount.
bool IsHidden(libmnt_fs* fs) {
  struct statx found {};
  const int rc = ::statx(AT_FDCWD, mnt_fs_get_target(fs), AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW,
                         STATX_MNT_ID, &found);
  if (rc != 0) return true;
  return (found.stx_mask & STATX_MNT_ID) != 0 &&
         found.stx_mnt_id != static_cast<uint64_t>(mnt_fs_get_id(fs));
}

std::string SysFolder(const DeviceNumber& number) {
  return "/sys/dev/block/" + std::to_string(number.major) + ":" + std::to_string(number.minor);
}

std::string FirstLine(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

std::vector<std::string> FolderEntries(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  return names;
}

Result<std::string> UseOf(const DeviceNumber& number) {
  auto mounts = MountsOf(number);
  if (!mounts) return Pass(mounts);
  if (!mounts->empty()) return "mounted at " + mounts->front().target;
  for (const std::string& holder : FolderEntries(SysFolder(number) + "/holders")) {
    const std::string name = FirstLine("/sys/class/block/" + holder + "/dm/name");
    return "part of /dev/" + holder + (name.empty() ? "" : " (" + name + ")");
  }
  auto swaps = ReadTable("/proc/swaps");
  if (!swaps) return std::string();
  libmnt_fs* fs = nullptr;
  const std::unique_ptr<libmnt_iter, decltype(&mnt_free_iter)> it(
      mnt_new_iter(MNT_ITER_FORWARD), mnt_free_iter);
  while (it && mnt_table_next_fs(swaps->get(), it.get(), &fs) == 0)
    if (IsOf(fs, number)) return std::string("used as swap");
  return std::string();
}

DeviceNumber NumberIn(const std::string& file) {
  DeviceNumber found;
  char colon = 0;
  std::ifstream(file) >> found.major >> colon >> found.minor;
  return colon == ':' ? found : DeviceNumber();
}

// The numbers of a disk's partitions.
std::vector<std::pair<std::string, DeviceNumber>> PartitionsOf(const DeviceNumber& number) {
  std::vector<std::pair<std::string, DeviceNumber>> partitions;
  const std::string folder = SysFolder(number);
  for (const std::string& name : FolderEntries(folder)) {
    std::string part = folder;
    part += '/';
    part += name;
    if (::access((part + "/partition").c_str(), F_OK) != 0) continue;
    const DeviceNumber found = NumberIn(part + "/dev");
    if (found != DeviceNumber()) partitions.emplace_back("/dev/" + name, found);
  }
  return partitions;
}

}  // namespace

Result<std::vector<Mount>> MountsOf(const DeviceNumber& number) {
  auto table = ReadTable("/proc/self/mountinfo");
  if (!table) return Pass(table);
  std::vector<Mount> mounts;
  const std::unique_ptr<libmnt_iter, decltype(&mnt_free_iter)> it(
      mnt_new_iter(MNT_ITER_FORWARD), mnt_free_iter);
  libmnt_fs* fs = nullptr;
  while (it && mnt_table_next_fs(table->get(), it.get(), &fs) == 0) {
    if (IsOf(fs, number))
      mounts.push_back({mnt_fs_get_target(fs), mnt_fs_get_fstype(fs), IsHidden(fs)});
  }
  return mounts;
}

std::vector<DeviceNumber> OverlapsOf(const DeviceNumber& number) {
  std::vector<DeviceNumber> overlaps;
  for (const auto& [name, partition] : PartitionsOf(number)) overlaps.push_back(partition);
  const std::string folder = SysFolder(number);
  if (::access((folder + "/partition").c_str(), F_OK) != 0) return overlaps;
  // The link leads into the disk's folder: its parent is the disk.
  const DeviceNumber disk = NumberIn(folder + "/../dev");
  if (disk != DeviceNumber()) overlaps.push_back(disk);
  return overlaps;
}

Result<std::string> MountedAt(const std::string& target) {
  auto table = ReadTable("/proc/self/mountinfo");
  if (!table) return Pass(table);
  libmnt_fs* fs = mnt_table_find_target(table->get(), target.c_str(), MNT_ITER_BACKWARD);
  return fs == nullptr ? std::string() : std::string(mnt_fs_get_fstype(fs));
}

Result<std::string> DescribeUse(const std::string& path) {
  auto number = NumberOf(path);
  if (!number) return Pass(number);
  auto use = UseOf(*number);
  if (!use || !use->empty()) return use;
  for (const auto& [name, partition] : PartitionsOf(*number)) {
    use = UseOf(partition);
    if (!use) return use;
    if (!use->empty()) return "its partition " + name + " is " + *use;
  }
  const Fd fd(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!fd && errno == EBUSY) return std::string("in use by another program");
  return std::string();
}

}  // namespace ddsnap
