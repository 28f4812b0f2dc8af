// SPDX-License-Identifier: GPL-2.0
#include "host/freeze.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ddsnap {
namespace {

// The guard's whole life.  It waits for the other end of `socket` to be closed, and never longer
// than the limit.  That begins with the byte which says that the file system is frozen: until
// then whoever freezes it waits for the disk, and a thaw would come too early or in vain.
[[noreturn]] void Guard(int root, int socket, uint64_t limit_ms) {
  (void)::setsid();
  // Nor may the kernel choose it when memory runs out.  Who kills a whole group of processes
  // at once and by force (a unit's) has to run `zumastor thaw` after it, as our units do; a
  // session that ends gives its processes longer than the limit.
  const Fd oom(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (oom) (void)!::write(oom.get(), "-1000", 5);
  for (const int deaf : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) (void)::signal(deaf, SIG_IGN);
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(socket, &byte, 1)) < 0 && errno == EINTR) {
  }
  pollfd ended = {.fd = socket, .events = POLLIN, .revents = 0};
  while (got == 1 && ::poll(&ended, 1, static_cast<int>(limit_ms)) < 0 && errno == EINTR) {
  }
  // EINVAL: it is thawed already, as it should be.
  ::_exit(::ioctl(root, FITHAW, 0) == 0 ? 1 : 0);
}

// Freezes, and tells the guard.  Nobody can suspend us (Ctrl-Z) between the two: the guard would
// wait without a limit.
Status FreezeAndTell(int root, int guard) {
  sigset_t suspend, before;
  sigemptyset(&suspend);
  sigaddset(&suspend, SIGTSTP);
  (void)::sigprocmask(SIG_BLOCK, &suspend, &before);
  Status s;
  if (::ioctl(root, FIFREEZE, 0) != 0) {
    s = FailErrno(errno, "freeze");
  } else if (::send(guard, "f", 1, MSG_NOSIGNAL) != 1) {
    s = FailErrno(errno, "the guard of the freeze");
    (void)::ioctl(root, FITHAW, 0);
  }
  (void)::sigprocmask(SIG_SETMASK, &before, nullptr);
  return s;
}

}  // namespace

Result<FrozenFileSystem> FrozenFileSystem::Freeze(const std::string& mountpoint,
                                                  uint64_t limit_ms) {
  FrozenFileSystem frozen;
  frozen.mountpoint_ = mountpoint;
  Fd root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return FailErrno(errno, mountpoint);
  // Who writes waits as soon as the freeze begins: so most of what it has to write is written
  // before.  An error would be the freeze's as well.
  (void)::syncfs(root.get());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return FailErrno(errno, "socketpair");
  Fd guards_end(ends[0]);
  frozen.guard_.Reset(ends[1]);
  frozen.guard_pid_ = ::fork();
  if (frozen.guard_pid_ < 0) return FailErrno(errno, "fork");
  if (frozen.guard_pid_ == 0) {
    frozen.guard_.Reset();
    Guard(root.get(), guards_end.get(), limit_ms);
  }
  guards_end.Reset();
  if (Status s = FreezeAndTell(root.get(), frozen.guard_.get()); !s) {
    // Nothing to thaw: what is frozen nevertheless is so by somebody else.
    (void)::kill(frozen.guard_pid_, SIGKILL);
    return Fail(s.error().code, mountpoint + ": " + s.error().text);
  }
  frozen.root_ = std::move(root);
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
