// SPDX-License-Identifier: GPL-2.0
#include "registrar.h"

#include <utility>

#include "base/log.h"
#include "io/unix_socket.h"

namespace ddsnap::server {
namespace {

constexpr uint64_t kRetryMs = 200;

}  // namespace

Registrar::Registrar(EventLoop& loop, std::string agent, wire::Register registration)
    : loop_(loop),
      agent_(std::move(agent)),
      registration_(std::move(registration)),
      retry_(loop.AddTimer([this] { Try(); })) {
  Try();
}

void Registrar::Try() {
  auto fd = ConnectUnix(agent_, /*nonblocking=*/true);
  if (!fd) {
    if (!std::exchange(told_, true)) {
      Log(LOG_NOTICE, "agent is not there, trying on: " + fd.error().text);
    }
    retry_.ArmAfter(kRetryMs);
    return;
  }
  channel_ = std::make_unique<wire::Channel>(
      loop_, std::move(*fd),
      wire::Channel::Handlers{.frame = [this](const wire::Frame& frame) -> Status {
                                if (frame.type == wire::kRegistered) {
                                  told_ = false;
                                  Log(LOG_INFO, "registered with agent " + agent_);
                                }
                                return {};
                              },
                              .closed = [this](const std::string&) { retry_.ArmAfter(kRetryMs); },
                              .drained = {}});
  channel_->SendMessage(registration_);
}

}  // namespace ddsnap::server
