// SPDX-License-Identifier: GPL-2.0
#include "io/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace ddsnap {
namespace {

constexpr int kBacklog = 64;

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
};

Result<Address> MakeAddress(const std::string& name) {
  Address address;
  address.name.sun_family = AF_UNIX;
  if (name.empty() || name == "@") return Fail(EINVAL, "socket name is empty");
  if (name.size() >= sizeof address.name.sun_path) {
    return Fail(ENAMETOOLONG, name + ": too long for a socket name (107 bytes)");
  }
  std::memcpy(address.name.sun_path, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (name[0] == '@') {
    address.name.sun_path[0] = '\0';
  } else {
    ++address.length;  // the terminating NUL
  }
  return address;
}

Status MakeNonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return FailErrno(errno, "fcntl");
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return FailErrno(errno, "fcntl");
  return {};
}

// A socket file that nobody listens on is left over from a killed daemon.
Status RemoveStale(const std::string& name) {
  struct stat st {};
  if (name[0] == '@' || ::lstat(name.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode)) return Fail(EEXIST, name + ": exists and is not a socket");
  const auto probe = ConnectUnix(name, true);
  const int why = probe ? 0 : probe.error().code;
  if (why != ECONNREFUSED && why != ENOENT) return FailErrno(why == 0 ? EADDRINUSE : why, name);
  if (::unlink(name.c_str()) != 0 && errno != ENOENT) return FailErrno(errno, name);
  return {};
}

}  // namespace

Result<Fd> ListenUnix(const std::string& name) {
  auto address = MakeAddress(name);
  if (!address) return Pass(address);
  if (Status s = RemoveStale(name); !s) return Pass(s);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return FailErrno(errno, "socket");
  // The mode must be right from the start, hence umask and not chmod.
  const mode_t before = ::umask(0177);
  const int r = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address->name), address->length);
  const int error = errno;
  ::umask(before);
  if (r != 0) return FailErrno(error, name);
  if (::listen(fd.get(), kBacklog) != 0) return FailErrno(errno, name);
  return fd;
}

Result<Fd> ListenUnixOrPassed(const std::string& name, Fd passed) {
  if (!passed) return ListenUnix(name);
  if (Status s = MakeNonblocking(passed.get()); !s) return Pass(s);
  return passed;
}

Result<Fd> ConnectUnix(const std::string& name, bool nonblocking) {
  auto address = MakeAddress(name);
  if (!address) return Pass(address);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
  if (!fd) return FailErrno(errno, "socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address->name), address->length) != 0) {
    return FailErrno(errno, name);
  }
  return fd;
}

Result<Fd> AcceptUnix(int listener) {
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return FailErrno(errno, "accept");
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return FailErrno(errno, "SO_PEERCRED");
  }
  if (peer.uid != 0 && peer.uid != ::geteuid()) {
    return Fail(EPERM, "connection refused: user " + std::to_string(peer.uid) + " is not root");
  }
  return fd;
}

}  // namespace ddsnap
