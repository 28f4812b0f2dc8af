// SPDX-License-Identifier: GPL-2.0
#include "io/fd_store.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace ddsnap {
namespace {

constexpr uint64_t kAwaitUs = 5000000;
constexpr unsigned kNoExecSeal = 8;  // MFD_NOEXEC_SEAL, which older headers lack
constexpr off_t kMostMemory = 64 << 20;

bool IsListener(int fd) { return sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0; }

}  // namespace

PassedFds TakePassedFds() {
  PassedFds taken;
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    Fd fd(SD_LISTEN_FDS_START + i);
    std::string name = names[i];
    std::free(names[i]);
    if (IsListener(fd.get())) {
      taken.listener = std::move(fd);
      continue;
    }
    // The store's own copy would keep a connection open after this process is gone.
    (void)sd_notify(0, ("FDSTOREREMOVE=1\nFDNAME=" + name).c_str());
    taken.stored.insert_or_assign(std::move(name), std::move(fd));
  }
  std::free(names);
  return taken;
}

Status StoreFd(const std::string& name, int fd) {
  const std::string message = "FDSTORE=1\nFDNAME=" + name;
  const int r = sd_pid_notify_with_fds(0, 0, message.c_str(), &fd, 1);
  if (r < 0) return FailErrno(-r, "store of descriptors");
  if (r == 0) return FailErrno(ENOTSUP, "store of descriptors");
  return {};
}

Status AwaitStored() {
  const int r = sd_notify_barrier(0, kAwaitUs);
  if (r < 0) return FailErrno(-r, "store of descriptors");
  return {};
}

Result<Fd> MakeMemory(std::span<const std::byte> contents) {
  // Kernels of before 6.3 do not know the second flag, and warn about nothing.
  Fd fd(::memfd_create("zumastor", MFD_CLOEXEC | kNoExecSeal));
  if (!fd && errno == EINVAL) fd.Reset(::memfd_create("zumastor", MFD_CLOEXEC));
  if (!fd) return FailErrno(errno, "memory file");
  for (size_t done = 0; done < contents.size();) {
    const ssize_t n = ::pwrite(fd.get(), contents.data() + done, contents.size() - done,
                               static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return FailErrno(n < 0 ? errno : ENOSPC, "memory file");
    done += static_cast<size_t>(n);
  }
  return fd;
}

Result<std::vector<std::byte>> TakeMemory(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return FailErrno(errno, "memory file");
  if (!S_ISREG(st.st_mode) || st.st_size > kMostMemory) return Fail(EBADMSG, "not a memory file");
  std::vector<std::byte> contents(static_cast<size_t>(st.st_size));
  for (size_t done = 0; done < contents.size();) {
    const ssize_t n =
        ::pread(fd, contents.data() + done, contents.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return FailErrno(n < 0 ? errno : EBADMSG, "memory file");
    done += static_cast<size_t>(n);
  }
  if (::ftruncate(fd, 0) != 0) return FailErrno(errno, "memory file");
  return contents;
}

}  // namespace ddsnap
