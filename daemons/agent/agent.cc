// SPDX-License-Identifier: GPL-2.0
#include "agent.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "io/unix_socket.h"

namespace ddsnap::agent {
namespace {

constexpr size_t kMaxConnections = 4096;

}  // namespace

Agent::Agent(EventLoop& loop, Fd listener, Connector connector, uint64_t identify_wait_ms,
             uint64_t link_wait_ms)
    : loop_(loop),
      listener_(std::move(listener)),
      connector_(std::move(connector)),
      identify_wait_ms_(identify_wait_ms),
      link_wait_ms_(link_wait_ms),
      accept_(loop.AddIo(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); })),
      advance_(loop.AddDeferred(EventLoop::kPriorityTurn,
                                [this] {
                                  for (const auto& connection : connections_) {
                                    if (connection->request) connection->request->Advance();
                                  }
                                })),
      reap_(loop.AddDeferred(EventLoop::kPriorityTurn, [this] { closed_.clear(); })) {}

void Agent::Accept() {
  auto fd = AcceptUnix(listener_.get());
  if (!fd) {
    if (fd.error().code != EAGAIN) Log(LOG_WARNING, fd.error().text);
    return;
  }
  if (connections_.size() >= kMaxConnections) {
    Log(LOG_WARNING, "too many connections: one more is closed");
    return;
  }
  auto connection = std::make_unique<Connection>();
  Connection& c = *connection;
  c.channel = std::make_unique<wire::Channel>(
      loop_, std::move(*fd),
      wire::Channel::Handlers{
          .frame = [this, &c](const wire::Frame& frame) { return OnFrame(c, frame); },
          .closed = [this, &c](const std::string& why) { OnClosed(c, why); },
          .drained = {}});
  connections_.push_back(std::move(connection));
}

Status Agent::OnFrame(Connection& c, const wire::Frame& frame) {
  if (c.request) return Fail(EPROTO, "a second request on one connection");
  const KernelRequest::Context context{loop_, registry_, connector_, identify_wait_ms_,
                                       link_wait_ms_};
  switch (frame.type) {
    case wire::Identify::kType:
      if (c.server) break;
      c.request =
          std::make_unique<KernelRequest>(context, *c.channel, wire::Get<wire::Identify>(frame));
      return {};
    case wire::NeedServer::kType:
      if (c.server) break;
      c.request =
          std::make_unique<KernelRequest>(context, *c.channel, wire::Get<wire::NeedServer>(frame));
      return {};
    case wire::Register::kType: {
      const auto server = wire::Get<wire::Register>(frame);
      c.server = true;
      registry_.Add(&c, server);
      Log(LOG_INFO, "server of volume " + FormatUuid(server.uuid) + " at " + server.socket);
      wire::FrameWriter answer;
      answer.Put(wire::kRegistered, 0, {});
      c.channel->Send(answer);
      advance_.Arm();
      return {};
    }
    default:
      break;
  }
  return Fail(EPROTO, std::string("unexpected ") + wire::TypeName(frame.type));
}

void Agent::OnClosed(Connection& c, const std::string& why) {
  if (!why.empty()) Log(LOG_WARNING, "connection closed: " + why);
  if (c.server) registry_.Remove(&c);
  const auto it = std::find_if(connections_.begin(), connections_.end(),
                               [&c](const auto& known) { return known.get() == &c; });
  closed_.push_back(std::move(*it));
  connections_.erase(it);
  reap_.Arm();
}

}  // namespace ddsnap::agent
