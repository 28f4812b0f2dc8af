// SPDX-License-Identifier: GPL-2.0
#include "io/tcp_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace ddsnap {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<Addresses> Resolve(const std::string& host, const std::string& port, bool listen) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = listen ? AI_PASSIVE : AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return Fail(EHOSTUNREACH, host + ":" + port + ": " + ::gai_strerror(error));
  return Addresses(found, &::freeaddrinfo);
}

template <typename T>
bool Set(int fd, int level, int name, T value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Silence is asked about after a third of the time, and ends the connection after all of it; so
// does data that is not acknowledged.
Status WatchPeer(int fd, unsigned timeout_s) {
  const int third = static_cast<int>(std::max(timeout_s / 3, 1U));
  if (Set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) && Set(fd, IPPROTO_TCP, TCP_KEEPIDLE, third) &&
      Set(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(third / 2, 1)) &&
      Set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4) &&
      Set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_s * 1000)) {
    return {};
  }
  return FailErrno(errno, "TCP keepalive");
}

Status ConnectWithin(int fd, const addrinfo& address, unsigned timeout_s, const std::string& what) {
  // A connect that takes too long is given up by the send timeout.
  timeval limit{.tv_sec = static_cast<time_t>(timeout_s), .tv_usec = 0};
  if (!Set(fd, SOL_SOCKET, SO_SNDTIMEO, limit)) return FailErrno(errno, what);
  if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
    return FailErrno(errno == EINPROGRESS ? ETIMEDOUT : errno, what);
  }
  limit = {};
  if (!Set(fd, SOL_SOCKET, SO_SNDTIMEO, limit)) return FailErrno(errno, what);
  return WatchPeer(fd, timeout_s);
}

}  // namespace

Result<Fd> ListenTcp(const std::string& host, const std::string& port) {
  const std::string what = host + ":" + port;
  auto addresses = Resolve(host, port, true);
  if (!addresses) return Pass(addresses);
  const addrinfo& address = **addresses;
  Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return FailErrno(errno, what);
  if (!Set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) ||
      ::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), 1) != 0) {
    return FailErrno(errno, what);
  }
  return fd;
}

Result<uint16_t> PortOf(int listener) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return FailErrno(errno, "getsockname");
  }
  const bool six = address.ss_family == AF_INET6;
  return ntohs(six ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Result<Fd> AcceptTcp(int listener, unsigned timeout_s) {
  for (;;) {
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (!fd) return FailErrno(errno, "accept");
    if (Status s = WatchPeer(fd.get(), timeout_s); !s) return Pass(s);
    return fd;
  }
}

Result<Fd> ConnectTcp(const std::string& host, const std::string& port, unsigned timeout_s) {
  const std::string what = host + ":" + port;
  auto addresses = Resolve(host, port, false);
  if (!addresses) return Pass(addresses);
  Status last = FailErrno(EHOSTUNREACH, what);
  for (const addrinfo* address = addresses->get(); address != nullptr; address = address->ai_next) {
    Fd fd(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) continue;
    last = ConnectWithin(fd.get(), *address, timeout_s, what);
    if (last) return fd;
  }
  return Pass(last);
}

Result<HostPort> ParseHostPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  HostPort parts;
  if (colon != std::string::npos) {
    parts.host = text.substr(0, colon);
    parts.port = text.substr(colon + 1);
    if (parts.host.size() > 2 && parts.host.front() == '[' && parts.host.back() == ']') {
      parts.host = parts.host.substr(1, parts.host.size() - 2);
    }
  }
  const bool digits = std::ranges::all_of(parts.port, [](char c) { return c >= '0' && c <= '9'; });
  if (parts.host.empty() || parts.port.empty() || !digits) {
    return Fail(EINVAL, text + ": not HOST:PORT");
  }
  return parts;
}

}  // namespace ddsnap
