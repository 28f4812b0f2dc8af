// SPDX-License-Identifier: GPL-2.0
// TCP connections that notice when the other side is gone.
#ifndef DDSNAP_IO_TCP_SOCKET_H_
#define DDSNAP_IO_TCP_SOCKET_H_

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

// Listens on a port of the local address `host`: a name or a number, IPv4 or IPv6.
// Port "0": one that is free; PortOf says which.
[[nodiscard]] Result<Fd> ListenTcp(const std::string& host, const std::string& port);
[[nodiscard]] Result<uint16_t> PortOf(int listener);

// Waits for one connection.  Reads and writes on it fail when the other side has not
// answered for `timeout_s` seconds (at least 3).
[[nodiscard]] Result<Fd> AcceptTcp(int listener, unsigned timeout_s);

// Connects within `timeout_s` seconds, which then hold as with AcceptTcp.
[[nodiscard]] Result<Fd> ConnectTcp(const std::string& host, const std::string& port,
                                    unsigned timeout_s);

// "HOST:PORT" or "[HOST]:PORT" into its parts; EINVAL for anything else.
struct HostPort {
  std::string host;
  std::string port;
};
[[nodiscard]] Result<HostPort> ParseHostPort(const std::string& text);

}  // namespace ddsnap

#endif  // DDSNAP_IO_TCP_SOCKET_H_
