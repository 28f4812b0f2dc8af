// SPDX-License-Identifier: GPL-2.0
// Unix stream sockets by name: a path, or "@name" for an abstract one.
#ifndef DDSNAP_IO_UNIX_SOCKET_H_
#define DDSNAP_IO_UNIX_SOCKET_H_

#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

// Listens, nonblocking, with mode 0600.  The socket file of a listener that is
// no more is replaced; EADDRINUSE if somebody listens there.
[[nodiscard]] Result<Fd> ListenUnix(const std::string& name);

// As ListenUnix, but takes `passed`, the socket that the service manager listens on, if there is
// one.
[[nodiscard]] Result<Fd> ListenUnixOrPassed(const std::string& name, Fd passed);

// Connects.  With `nonblocking` the descriptor is so, and EAGAIN means that
// the listener's queue is full: try again later.
[[nodiscard]] Result<Fd> ConnectUnix(const std::string& name, bool nonblocking);

// Takes one connection off a listener, nonblocking; EAGAIN when none waits.
// EPERM, and the connection is closed, if the peer is neither root nor the user
// that this process runs as.
[[nodiscard]] Result<Fd> AcceptUnix(int listener);

}  // namespace ddsnap

#endif  // DDSNAP_IO_UNIX_SOCKET_H_
