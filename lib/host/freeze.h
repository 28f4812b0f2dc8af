// SPDX-License-Identifier: GPL-2.0
// A file system held still for a moment (FIFREEZE of ioctl_fsfreeze(2)).
//
// Invariant: a file system that was frozen here is thawed, whatever becomes of
// this process.  A guard, a child in a session of its own, thaws it when the
// process ends or when the limit is over, which begins once it is frozen.
//
// Thread rule: one thread, and only one at the time of Freeze: it forks.
#ifndef DDSNAP_HOST_FREEZE_H_
#define DDSNAP_HOST_FREEZE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

class FrozenFileSystem {
 public:
  // EOPNOTSUPP for a file system that cannot be frozen, EBUSY for one that is
  // frozen already.
  [[nodiscard]] static Result<FrozenFileSystem> Freeze(const std::string& mountpoint,
                                                       uint64_t limit_ms);
  FrozenFileSystem(FrozenFileSystem&&) noexcept = default;
  FrozenFileSystem& operator=(FrozenFileSystem&&) = delete;
  ~FrozenFileSystem();

  // ETIMEDOUT if the guard has been faster: what was done meanwhile was done
  // to a file system that may have moved.
  [[nodiscard]] Status Thaw();

 private:
  FrozenFileSystem() = default;
  std::string mountpoint_;
  Fd root_;   // of the file system; empty once thawed
  Fd guard_;  // its end means thaw
  pid_t guard_pid_ = 0;
};

// Thaws what is mounted there; nothing happens if it is not frozen.
[[nodiscard]] Status ThawIfFrozen(const std::string& mountpoint);

}  // namespace ddsnap

#endif  // DDSNAP_HOST_FREEZE_H_
