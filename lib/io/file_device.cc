// SPDX-License-Identifier: GPL-2.0
#include "io/file_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace ddsnap {
namespace {

// An open-file-description lock: of the node, gone with the descriptor, and of no
// concern to udev, which uses flock.
Status Lock(int fd, bool write, const std::string& path) {
  struct flock lock = {};
  lock.l_type = write ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) {
    return Fail(EBUSY, path + ": in use by another ddsnap program");
  }
  return FailErrno(errno, path + ": lock");
}

}  // namespace


Result<std::unique_ptr<FileDevice>> FileDevice::Open(const std::string& path,
                                                     const Options& options) {
  int flags = (options.write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return FailErrno(errno, path);
  if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
    return Fail(ENOTBLK, path + ": neither a block device nor a file");
  // O_EXCL without O_CREAT has a meaning for block devices only.
  if (options.exclusive && S_ISBLK(st.st_mode)) flags |= O_EXCL;
  bool direct = options.direct;
  Fd fd(::open(path.c_str(), flags | (direct ? O_DIRECT : 0)));
  if (!fd && direct && errno == EINVAL) {  // tmpfs and others know no O_DIRECT
    direct = false;
    fd.Reset(::open(path.c_str(), flags));
  }
  if (!fd && errno == EBUSY) return Fail(EBUSY, path + ": in use (mounted, or held by another program)");
  if (!fd) return FailErrno(errno, path);
  if (options.lock) {
    if (Status s = Lock(fd.get(), options.write, path); !s) return Pass(s);
  }
  return std::unique_ptr<FileDevice>(new FileDevice(std::move(fd), path, direct));
}

bool FileDevice::NeedsBounce(const std::byte* data) const {
  return direct_ && reinterpret_cast<uintptr_t>(data) % kBlockSize != 0;
}

std::byte* FileDevice::Bounce() {
  if (!bounce_)
    bounce_.reset(static_cast<std::byte*>(
        ::operator new[](kBounceSize, std::align_val_t{kBlockSize})));
  return bounce_.get();
}

Status FileDevice::Read(uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const bool bounce = NeedsBounce(out.data());
    const size_t want = bounce ? std::min(out.size(), kBounceSize) : out.size();
    std::byte* to = bounce ? Bounce() : out.data();
    const ssize_t n = ::pread(fd_.get(), to, want, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, path_ + ": read at byte " + std::to_string(offset));
    if (n == 0) return Fail(EIO, path_ + ": read past the end at byte " + std::to_string(offset));
    if (bounce) std::memcpy(out.data(), to, static_cast<size_t>(n));
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status FileDevice::Write(uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const bool bounce = NeedsBounce(data.data());
    const size_t want = bounce ? std::min(data.size(), kBounceSize) : data.size();
    const std::byte* from = data.data();
    if (bounce) from = static_cast<std::byte*>(std::memcpy(Bounce(), data.data(), want));
    const ssize_t n = ::pwrite(fd_.get(), from, want, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, path_ + ": write at byte " + std::to_string(offset));
    if (n == 0) return Fail(EIO, path_ + ": write past the end at byte " + std::to_string(offset));
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status FileDevice::Flush() {
  if (::fdatasync(fd_.get()) != 0) return FailErrno(errno, path_ + ": flush");
  return {};
}

uint64_t FileDevice::size() const {
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  return end < 0 ? 0 : static_cast<uint64_t>(end);
}

}  // namespace ddsnap
