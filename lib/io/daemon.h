// SPDX-License-Identifier: GPL-2.0
// What a program does to become a daemon below a block device.
#ifndef DDSNAP_IO_DAEMON_H_
#define DDSNAP_IO_DAEMON_H_

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

// In the foreground nothing happens.  Otherwise the process forks at once: the
// caller goes on in the child, and the parent exits with 0 when the child is
// Ready, or with the child's exit code when that ends before.
class Daemon {
 public:
  // Before any thread, socket or device is there.
  [[nodiscard]] static Result<Daemon> Start(bool foreground);

  // Tells the service manager and lets the parent go; leaves terminal and folder.
  void Ready();

 private:
  Daemon() = default;
  bool foreground_ = true;
  Fd parent_;
};

// Locks memory, is exempt from the OOM killer and from write-back throttling, as
// far as this user may: what a process must be whose work frees memory.
void ProtectBelowBlockDevice();

}  // namespace ddsnap

#endif  // DDSNAP_IO_DAEMON_H_
