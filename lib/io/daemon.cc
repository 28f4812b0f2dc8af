// SPDX-License-Identifier: GPL-2.0
#include "io/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace ddsnap {
namespace {

// Waits for the child's word; its standard error has told why there is none.
[[noreturn]] void AwaitChild(int pipe_fd, pid_t child) {
  char ready = 0;
  ssize_t n = 0;
  do {
    n = ::read(pipe_fd, &ready, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) ::_exit(0);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ::_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

}  // namespace

Result<Daemon> Daemon::Start(bool foreground) {
  Daemon daemon;
  daemon.foreground_ = foreground;
  if (foreground) return daemon;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "fork");
  if (child > 0) {
    ::close(ends[1]);
    AwaitChild(ends[0], child);
  }
  ::close(ends[0]);
  daemon.parent_.Reset(ends[1]);
  (void)::setsid();
  return daemon;
}

void Daemon::Ready() {
  (void)sd_notify(0, "READY=1");
  if (foreground_) return;
  const char ready = 1;
  (void)!::write(parent_.get(), &ready, 1);
  parent_.Reset();
  (void)!::chdir("/");
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) (void)::dup2(null.get(), fd);
  }
}

void ProtectBelowBlockDevice() {
  const Fd oom(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (oom) (void)!::write(oom.get(), "-1000", 5);
  (void)::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#if !defined(__SANITIZE_ADDRESS__)  // its shadow memory is larger than any machine's
  // A limit that this user cannot exceed would make later allocations fail.
  if (::geteuid() == 0) {
    (void)::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)::mallopt(M_MMAP_MAX, 0);
    (void)::mlockall(MCL_CURRENT | MCL_FUTURE);
  }
#endif
}

}  // namespace ddsnap
