// SPDX-License-Identifier: GPL-2.0
#include "host/freeze.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ddsnap {
namespace {

// The guard's whole life.  It waits for the other end of `pipe` to be closed,
// and never longer than the limit.
[[noreturn]] void Guard(int root, int pipe, uint64_t limit_ms) {
  (void)::setsid();
  // Nor may the kernel choose it when memory runs out.  Who kills a whole group of processes
  // at once and by force (a unit's) has to run `zumastor thaw` after it, as our units do; a
  // session that ends gives its processes longer than the limit.
  const Fd oom(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (oom) (void)!::write(oom.get(), "-1000", 5);
  for (const int deaf : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) (void)::signal(deaf, SIG_IGN);
  pollfd ended = {.fd = pipe, .events = POLLIN, .revents = 0};
  while (::poll(&ended, 1, static_cast<int>(limit_ms)) < 0 && errno == EINTR) {
  }
  // EINVAL: it is thawed already, as it should be.
  ::_exit(::ioctl(root, FITHAW, 0) == 0 ? 1 : 0);
}

}  // namespace

Result<FrozenFileSystem> FrozenFileSystem::Freeze(const std::string& mountpoint,
                                                  uint64_t limit_ms) {
  FrozenFileSystem frozen;
  frozen.mountpoint_ = mountpoint;
  frozen.root_.Reset(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!frozen.root_) return FailErrno(errno, mountpoint);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const Fd guards_end(ends[0]);
  frozen.guard_.Reset(ends[1]);
  frozen.guard_pid_ = ::fork();
  if (frozen.guard_pid_ < 0) return FailErrno(errno, "fork");
  if (frozen.guard_pid_ == 0) {
    frozen.guard_.Reset();
    Guard(frozen.root_.get(), guards_end.get(), limit_ms);
  }
  if (::ioctl(frozen.root_.get(), FIFREEZE, 0) != 0) {
    const int error = errno;
    frozen.root_.Reset();  // nothing to thaw
    return FailErrno(error, mountpoint + ": freeze");
  }
  return frozen;
}

Status FrozenFileSystem::Thaw() {
  const Fd root(std::exchange(root_, Fd()));
  const bool still = ::ioctl(root.get(), FITHAW, 0) == 0;
  guard_.Reset();
  int status = 0;
  while (::waitpid(guard_pid_, &status, 0) < 0 && errno == EINTR) {
  }
  guard_pid_ = 0;
  if (still) return {};
  return Fail(ETIMEDOUT, mountpoint_ + ": was thawed before the snapshot was there");
}

FrozenFileSystem::~FrozenFileSystem() {
  if (root_) {
    (void)Thaw();
  } else if (guard_pid_ > 0 && guard_) {
    guard_.Reset();
    (void)::waitpid(guard_pid_, nullptr, 0);
  }
}

Status ThawIfFrozen(const std::string& mountpoint) {
  const Fd root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return FailErrno(errno, mountpoint);
  if (::ioctl(root.get(), FITHAW, 0) == 0 || errno == EINVAL) return {};
  return FailErrno(errno, mountpoint + ": thaw");
}

}  // namespace ddsnap
