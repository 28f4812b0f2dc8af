// SPDX-License-Identifier: GPL-2.0
// One command at a time: locks that end with the process.
#ifndef DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_
#define DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_

#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

// Held from its making to its end.  Order: the configuration's before a volume's.
class CommandLock {
 public:
  // Of the files in /etc/zumastor/volumes.  ETIMEDOUT, with the process that
  // holds it, after a minute.
  [[nodiscard]] static Result<CommandLock> OfConfiguration();
  // Of a volume's devices, snapshots and records.
  [[nodiscard]] static Result<CommandLock> OfVolume(const std::string& volume);

 private:
  explicit CommandLock(Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] static Result<CommandLock> Take(const std::string& file, const std::string& what);
  Fd fd_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_
