// SPDX-License-Identifier: GPL-2.0
#include "repl/content_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "base/fd.h"
#include "repl/aligned_bytes.h"
#include "repl/format.h"

namespace ddsnap::repl {
namespace {

constexpr uint64_t kZeroPiece = 256 << 20;

struct Access {
  bool change, alone;
};

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
    if (std::getline(backing, path) && ::stat(path.c_str(), &st) == 0 && st.st_dev == file.st_dev &&
        st.st_ino == file.st_ino) {
      found = "/dev/" + device;
    }
  }
  ::closedir(folder);
  return found;
}

class FileContent : public ContentDevice {
 public:
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> Open(const std::string& path,
                                                                   Access access);
  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) const override;
  [[nodiscard]] Status Zero(uint64_t offset, uint64_t length) const override;
  [[nodiscard]] Status Flush() const override;
  [[nodiscard]] uint64_t NextData(uint64_t offset) const override;
  [[nodiscard]] uint64_t size() const override { return size_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  [[nodiscard]] int FdFor(uint64_t offset, const std::byte* data, size_t size) const;

  std::string name_;
  uint64_t size_ = 0;
  bool block_ = false;
  Fd cached_;  // through the page cache: for what is not aligned
  Fd direct_;  // O_DIRECT; none where the file system has no such thing
};

Result<std::unique_ptr<ContentDevice>> FileContent::Open(const std::string& path, Access access) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return FailErrno(errno, path);
  const bool block = S_ISBLK(st.st_mode);
  if (!block && !S_ISREG(st.st_mode)) {
    return Fail(ENOTBLK, path + ": neither a block device nor a file");
  }
  auto device = std::make_unique<FileContent>();
  device->block_ = block;
  device->name_ = path;
  const int flags = (access.change ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  // O_EXCL without O_CREAT has a meaning for block devices only: nobody else
  // holds it so, as mounts and device-mapper do.
  device->cached_.Reset(::open(path.c_str(), flags | (access.alone && block ? O_EXCL : 0)));
  if (!device->cached_) {
    if (errno != EBUSY) return FailErrno(errno, path);
    return Fail(EBUSY, path +
                           ": in use: it is mounted, or part of another device, or another "
                           "program holds it");
  }
  const int fd = device->cached_.get();
  if (access.alone && !block) {
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

int FileContent::FdFor(uint64_t offset, const std::byte* data, size_t size) const {
  const bool aligned = (offset | size | reinterpret_cast<uintptr_t>(data)) % kDirectAlignment == 0;
  return direct_ && aligned ? direct_.get() : cached_.get();
}

Status FileContent::Read(uint64_t offset, std::span<std::byte> out) const {
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

Status FileContent::Write(uint64_t offset, std::span<const std::byte> data) const {
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

Status FileContent::Flush() const {
  if (::fsync(cached_.get()) != 0) return FailErrno(errno, name_ + ": flush");
  return {};
}

Status FileContent::Zero(uint64_t offset, uint64_t length) const {
  if (block_ && (offset | length) % kDirectAlignment == 0) {
    // In pieces: a long one cannot be interrupted.
    while (length > 0) {
      uint64_t range[2] = {offset, std::min(length, kZeroPiece)};
      if (::ioctl(cached_.get(), BLKZEROOUT, range) != 0) break;
      offset += range[1];
      length -= range[1];
    }
  } else if (!block_ && length > 0 &&
             ::fallocate(cached_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) {
    return {};
  }
  static const AlignedBytes zeroes(kMaxExtent, std::byte{0});
  while (length > 0) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(length, zeroes.size()));
    if (Status s = Write(offset, std::span(zeroes).first(n)); !s) return s;
    offset += n;
    length -= n;
  }
  return {};
}

uint64_t FileContent::NextData(uint64_t offset) const {
  if (block_ || offset >= size_) return std::min(offset, size_);
  const off_t at = ::lseek(cached_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (at >= 0) return std::min(static_cast<uint64_t>(at), size_);
  return errno == ENXIO ? size_ : offset;
}

}  // namespace

Result<std::unique_ptr<ContentDevice>> ContentDevice::OpenToRead(const std::string& path) {
  return FileContent::Open(path, {.change = false, .alone = false});
}

Result<std::unique_ptr<ContentDevice>> ContentDevice::OpenToReadAlone(const std::string& path) {
  return FileContent::Open(path, {.change = false, .alone = true});
}

Result<std::unique_ptr<ContentDevice>> ContentDevice::OpenToChange(const std::string& path) {
  return FileContent::Open(path, {.change = true, .alone = true});
}

}  // namespace ddsnap::repl
