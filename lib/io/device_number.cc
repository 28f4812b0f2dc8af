// SPDX-License-Identifier: GPL-2.0
#include "io/device_number.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "base/fd.h"

namespace ddsnap {
namespace {

constexpr uint32_t kFileMajor = 0xffff0000;

}  // namespace

Result<DeviceNumber> NumberOf(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return FailErrno(errno, path);
  if (S_ISBLK(st.st_mode)) return DeviceNumber{major(st.st_rdev), minor(st.st_rdev)};
  if (S_ISREG(st.st_mode)) return DeviceNumber{kFileMajor, static_cast<uint32_t>(st.st_ino)};
  return FailErrno(ENOTBLK, path);
}

Result<uint64_t> SizeOf(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return FailErrno(errno, path);
  if (S_ISREG(st.st_mode)) return static_cast<uint64_t>(st.st_size);
  uint64_t bytes = 0;
  if (::ioctl(fd.get(), BLKGETSIZE64, &bytes) != 0) return FailErrno(errno, path);
  return bytes;
}

}  // namespace ddsnap
