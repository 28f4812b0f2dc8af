// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <cerrno>

#include "control_session.h"
#include "identify_session.h"
#include "kernel_session.h"
#include "server.h"

namespace ddsnap::server {

Session::Session(Server& server, EventLoop& loop, Fd fd)
    : server_(server),
      channel_(loop, std::move(fd),
               {.frame = [this](const wire::Frame& frame) { return OnFrame(frame); },
                .closed =
                    [this](const std::string& why) {
                      if (peer_) peer_->OnClosed(why);
                      server_.Forget(*this);
                    },
                .drained =
                    [this] {
                      if (peer_) peer_->OnDrained();
                    }}) {}

std::unique_ptr<Peer> Session::MakePeer(uint32_t type) {
  switch (type) {
    case wire::Hello::kType:
      return std::make_unique<KernelSession>(server_, *this);
    case wire::kControlRequest:
      return std::make_unique<ControlSession>(server_, *this);
    case wire::Identify::kType:
      return std::make_unique<IdentifySession>(server_, *this);
    default:
      return nullptr;
  }
}

Status Session::OnFrame(const wire::Frame& frame) {
  if (!peer_) peer_ = MakePeer(frame.type);
  if (!peer_) return Fail(EPROTO, std::string(wire::TypeName(frame.type)) + " opens a connection");
  return peer_->OnFrame(frame);
}

void Session::Release() {
  if (peer_) peer_->OnCommitted();
  channel_.Send(held_);
}

void Session::CommitFailed(const Error& why) {
  held_.Clear();
  if (peer_) peer_->OnCommitFailed(why);
  channel_.Send(held_);
}

void Session::StopRequests() {
  if (peer_ && (peer_->is_kernel() || peer_->busy())) return;
  channel_.Pause(true);
}

std::optional<Session::Left> Session::Leave() {
  Left left;
  if (busy()) return std::nullopt;
  if (peer_ && peer_->is_kernel()) {
    left.kept.link = peer_->Link();
    if (!left.kept.link) return std::nullopt;
  }
  auto channel = channel_.Leave();
  if (!channel) return std::nullopt;
  left.fd = std::move(channel->fd);
  left.kept.unread = std::move(channel->unread);
  left.kept.unsent = std::move(channel->unsent);
  return left;
}

Status Session::Continue(const wire::KeptConnection& kept) {
  if (kept.link) {
    auto kernel = std::make_unique<KernelSession>(server_, *this);
    if (Status s = kernel->Continue(*kept.link); !s) return s;
    peer_ = std::move(kernel);
  }
  channel_.Continue(kept.unread, kept.unsent);
  return {};
}

}  // namespace ddsnap::server
