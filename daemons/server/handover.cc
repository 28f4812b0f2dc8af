// SPDX-License-Identifier: GPL-2.0
#include "handover.h"

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/log.h"

namespace ddsnap::server {
namespace {

constexpr const char* kDescription = "connections";

std::string NameOf(size_t index) { return "connection-" + std::to_string(index); }

Result<Handover> Match(const Fd& description, NamedFds& stored) {
  auto bytes = TakeMemory(description.get());
  if (!bytes) return Pass(bytes);
  auto kept = wire::DecodeKept(*bytes);
  if (!kept) return Pass(kept);
  Handover handover{.kept = {.commits = kept->commits}, .fds = {}};
  for (size_t i = 0; i < kept->connections.size(); ++i) {
    wire::KeptConnection& connection = kept->connections[i];
    const auto it = stored.find(NameOf(i));
    // Each connection's description stands for itself: whoever hung up takes nothing from others.
    if (it == stored.end()) {
      if (connection.link) Log(LOG_NOTICE, "the kernel's link has been closed meanwhile");
      continue;
    }
    // A descriptor's flags are not part of what the store keeps.
    if (::fcntl(it->second.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
      return FailErrno(errno, NameOf(i));
    }
    handover.fds.push_back(std::move(it->second));
    handover.kept.connections.push_back(std::move(connection));
  }
  return handover;
}

}  // namespace

Status Leave(const Handover& handover) {
  if (handover.fds.empty()) return {};
  auto description = MakeMemory(wire::EncodeKept(handover.kept));
  if (!description) return Pass(description);
  for (size_t i = 0; i < handover.fds.size(); ++i) {
    if (Status s = StoreFd(NameOf(i), handover.fds[i].get()); !s) return s;
  }
  if (Status s = StoreFd(kDescription, description->get()); !s) return s;
  return AwaitStored();
}

Handover TakeUp(NamedFds stored) {
  if (stored.empty()) return {};
  const auto it = stored.find(kDescription);
  auto handover = it == stored.end() ? Result<Handover>(Fail(ENOENT, "no description"))
                                     : Match(it->second, stored);
  if (handover) return std::move(*handover);
  Log(LOG_NOTICE, "connections of an earlier server are closed: " + handover.error().text);
  return {};
}

}  // namespace ddsnap::server
