// SPDX-License-Identifier: GPL-2.0
#include "repl/content_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "repl/aligned_bytes.h"

namespace ddsnap::repl {
namespace {

// The loop device that serves the file, or an empty string.
std::string LoopDeviceOf(const struct stat& file) {
  std::string found;
  DIR* folder = ::opendir("/sys/block");
  if (folder == nullptr) return found;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string device = entry->d_name;
    if (!device.starts_with("loop")) continue;
    std::ifstream backing("/sys/block/" + device + "/loop/backing_file");
    std::string path;
    struct stat st;
    if (std::getline(backing, path) && ::stat(path.c_str(), &st) == 0 &&
        st.st_dev == file.st_dev && st.st_ino == file.st_ino) {
      found = "/dev/" + device;
    }
  }
  ::closedir(folder);
  return found;
}

}  // namespace

Result<std::unique_ptr<ContentDevice>> ContentDevice::OpenToRead(const std::string& path) {
  return Open(path, false);
}

Result<std::unique_ptr<ContentDevice>> ContentDevice::OpenToChange(const std::string& path) {
  return Open(path, true);
}

Result<std::unique_ptr<ContentDevice>> ContentDevice::Open(const std::string& path, bool change) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return FailErrno(errno, path);
  const bool block = S_ISBLK(st.st_mode);
  if (!block && !S_ISREG(st.st_mode)) {
    return Fail(ENOTBLK, path + ": neither a block device nor a file");
  }
  std::unique_ptr<ContentDevice> device(new ContentDevice);
  device->name_ = path;
  const int flags = (change ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  // O_EXCL without O_CREAT has a meaning for block devices only: nobody else
  // holds it so, as mounts and device-mapper do.
  device->cached_.Reset(::open(path.c_str(), flags | (change && block ? O_EXCL : 0)));
  if (!device->cached_) {
    if (errno != EBUSY) return FailErrno(errno, path);
    return Fail(EBUSY, path + ": in use: it is mounted, or part of another device, or another "
                              "program holds it");
  }
  const int fd = device->cached_.get();
  if (change && !block) {
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      return errno == EWOULDBLOCK ? Fail(EBUSY, path + ": in use: another program has locked it")
                                  : FailErrno(errno, path);
    }
    if (const std::string loop = LoopDeviceOf(st); !loop.empty()) {
      return Fail(EBUSY, path + ": in use: it is behind " + loop);
    }
  }
  const off_t end = ::lseek(fd, 0, SEEK_END);
  if (end < 0) return FailErrno(errno, path);
  device->size_ = static_cast<uint64_t>(end);
  // Opened through the first descriptor: a name may have changed meanwhile.
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  device->direct_.Reset(::open(self.c_str(), flags | O_DIRECT));
  return device;
}

int ContentDevice::FdFor(uint64_t offset, const std::byte* data, size_t size) const {
  const bool aligned =
      (offset | size | reinterpret_cast<uintptr_t>(data)) % kDirectAlignment == 0;
  return direct_ && aligned ? direct_.get() : cached_.get();
}

Status ContentDevice::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const int fd = FdFor(offset, out.data(), out.size());
    const ssize_t n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, name_ + ": read at byte " + std::to_string(offset));
    if (n == 0) return Fail(EIO, name_ + ": ends at byte " + std::to_string(offset));
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status ContentDevice::Write(uint64_t offset, std::span<const std::byte> data) const {
  while (!data.empty()) {
    const int fd = FdFor(offset, data.data(), data.size());
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, name_ + ": write at byte " + std::to_string(offset));
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status ContentDevice::Flush() const {
  if (::fsync(cached_.get()) != 0) return FailErrno(errno, name_ + ": flush");
  return {};
}

}  // namespace ddsnap::repl
