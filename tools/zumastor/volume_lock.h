// SPDX-License-Identifier: GPL-2.0
// One command at a time: locks that end with the process.
#ifndef DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_
#define DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

// Held from its making to its end.  Order: the configuration's before a volume's.
class CommandLock {
 public:
  // Of the files in /etc/zumastor/volumes.  ETIMEDOUT, with the process that
  // holds it, after a minute.
  [[nodiscard]] static Result<CommandLock> OfConfiguration();
  // The same for who holds a volume's lock: EBUSY, with the process, at once.
  [[nodiscard]] static Result<CommandLock> OfConfigurationIfFree();
  // Of a volume's devices, snapshots and records.
  [[nodiscard]] static Result<CommandLock> OfVolume(const std::string& volume);
  // Of what is sent to a target; before the volume's.  EBUSY, with the process, at once.
  [[nodiscard]] static Result<CommandLock> OfTarget(const std::string& volume,
                                                    const std::string& target);
  // The same for a target that fetches: as with OfReceiving, who holds it is ended.
  [[nodiscard]] static Result<CommandLock> OfFetchingTarget(const std::string& volume,
                                                            const std::string& target);
  // The process that holds it; nothing if nobody does.
  [[nodiscard]] static std::optional<pid_t> HolderOfTarget(const std::string& volume,
                                                           const std::string& target);
  // Whoever sends to one of these targets is ended, and for "", the source, whoever receives: they
  // go on another time.
  static void EndReplication(const std::string& volume, const std::vector<std::string>& targets);
  [[nodiscard]] static bool IsReceiving(const std::string& volume);
  // Of the receiving of a volume; before the volume's.  Who holds it is ended: a sender that
  // comes again has lost its earlier connection, which may take hours to be seen here.
  [[nodiscard]] static Result<CommandLock> OfReceiving(const std::string& volume);

 private:
  [[nodiscard]] static std::optional<pid_t> HolderOf(const std::string& file);
  static void EndHolder(const std::string& file);
  enum class IfHeld : uint8_t { kWait, kRefuse, kEndHolder };
  explicit CommandLock(Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] static Result<CommandLock> Take(const std::string& file, const std::string& what,
                                                IfHeld if_held);
  Fd fd_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_VOLUME_LOCK_H_
