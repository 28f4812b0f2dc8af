// SPDX-License-Identifier: GPL-2.0
// The service manager's store of descriptors: what a process puts there as its last act, the next
// process of the unit is given when it starts.
#ifndef DDSNAP_IO_FD_STORE_H_
#define DDSNAP_IO_FD_STORE_H_

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

using NamedFds = std::map<std::string, Fd>;

// What the service manager has passed to this process.
struct PassedFds {
  Fd listener;      // the socket of socket activation
  NamedFds stored;  // what the store had; from now on this process alone has it
};

// Once, and before any descriptor is closed.
[[nodiscard]] PassedFds TakePassedFds();

// Puts one descriptor there, which stays the caller's.  ENOTSUP where no service manager runs this
// process. That the manager has refused it, nobody tells.
[[nodiscard]] Status StoreFd(const std::string& name, int fd);

// Returns when the service manager has what was put before; ETIMEDOUT after five seconds.
[[nodiscard]] Status AwaitStored();

// ---- memory that a descriptor holds

[[nodiscard]] Result<Fd> MakeMemory(std::span<const std::byte> contents);

// Reads and empties it: whoever else refers to it finds nothing afterwards.
[[nodiscard]] Result<std::vector<std::byte>> TakeMemory(int fd);

}  // namespace ddsnap

#endif  // DDSNAP_IO_FD_STORE_H_
