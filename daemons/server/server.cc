// SPDX-License-Identifier: GPL-2.0
#include "server.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "host/event_queue.h"
#include "io/unix_socket.h"
#include "kernel_session.h"

namespace ddsnap::server {
namespace {

constexpr size_t kMaxSessions = 256;
// Input may put off the end of a turn this many times: a peer that never
// stops talking must not keep the others from their answers.
constexpr unsigned kMaxPutOff = 64;
constexpr std::chrono::seconds kMarkPatience(10);  // the origin's writes wait so long
constexpr uint64_t kEndMs = 10000;  // for the requests under way when the server ends

// The service manager drops such a connection from its store at once.
bool HungUp(const Fd& fd) {
  pollfd poll_fd = {.fd = fd.get(), .events = 0, .revents = 0};
  return ::poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

Server::Server(EventLoop& loop, Volume& volume, Config config, Fd listener)
    : loop_(loop),
      volume_(volume),
      config_(std::move(config)),
      listener_(std::move(listener)),
      on_end_([this] { loop_.Exit(); }),
      turn_(loop.AddDeferred(EventLoop::kPriorityTurn, [this] { EndTurn(); })),
      idle_(loop.AddDeferred(EventLoop::kPriorityIdle, [this] { Idle(); })),
      accept_(loop.AddIo(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); })),
      end_(loop.AddTimer([this] { on_end_(); })),
      space_(*this),
      link_waiter_(*this, loop),
      creations_(*this, loop),
      registrar_(
          loop, config_.agent,
          {.devices = volume.devices(), .uuid = volume.store().uuid(), .socket = config_.socket}) {
  if (!volume_.MaybeAttached()) space_.OnLinkSettled();
  BackgroundWork();
}

Server::~Server() = default;

void Server::Accept() {
  auto fd = AcceptUnix(listener_.get());
  if (!fd) {
    if (fd.error().code != EAGAIN) Log(LOG_WARNING, fd.error().text);
    return;
  }
  if (sessions_.size() >= kMaxSessions) {
    Log(LOG_WARNING, "too many connections: one more is closed");
    return;
  }
  sessions_.push_back(std::make_shared<Session>(*this, loop_, std::move(*fd)));
}

void Server::Forget(Session& session) {
  const auto it = std::find_if(sessions_.begin(), sessions_.end(),
                               [&](const auto& s) { return s.get() == &session; });
  if (it == sessions_.end()) return;
  closed_.push_back(std::move(*it));
  sessions_.erase(it);
  ScheduleTurn();
}

// ---- the turn

void Server::ScheduleTurn() {
  turn_.Arm();
  if (++turns_put_off_ == kMaxPutOff) turn_.SetPriority(EventLoop::kPriorityIo - 1);
}

void Server::CopiesReported() {
  copies_unflushed_ = true;
  ScheduleTurn();
}

void Server::LiveChanged() {
  live_changed_ = true;
  ScheduleTurn();
}

void Server::EndTurn() {
  if (std::exchange(turns_put_off_, 0) >= kMaxPutOff) turn_.SetPriority(EventLoop::kPriorityTurn);
  CommitTurn();
  if (ending_ && !RequestsUnderWay()) on_end_();
}

void Server::CommitTurn() {
  closed_.clear();
  if (live_changed_ && kernel_ != nullptr && !creations_.barrier_up()) {
    kernel_->SendResume(0);
    live_changed_ = false;
  }
  if (!abandoned_ && (store().dirty() || store().failed())) {
    const Status s = store().Commit(std::exchange(copies_unflushed_, false));
    if (!s) return CommitFailed(s.error());
    space_.ReportFill();
    BackgroundWork();
  }
  for (const auto& session : sessions_) session->Release();
}

// The store cannot be written any more.  The origin must go on: every snapshot
// is given up, which the store cannot remember, so a mark does.
void Server::CommitFailed(const Error& why) {
  abandoned_ = why;
  Report(LOG_CRIT, kStoreFailedEvent,
         "snapshot store failed, all snapshots are given up: " + why.text);
  RememberAbandoned(kMarkPatience);
  creations_.FailAll(why);
  for (const auto& session : sessions_) session->CommitFailed(why);
}

void Server::RememberAbandoned(std::chrono::milliseconds patience) {
  if (Status s = volume_.MarkAbandoned(patience); !s)
    Log(LOG_CRIT, "the failed store cannot be remembered over a restart: " + s.error().text);
}

uint64_t Server::live() { return abandoned_ ? 0 : store().live(); }

// ---- background work

void Server::BackgroundWork() {
  idle_.SetPriority(space_.waiting() ? EventLoop::kPriorityTurn : EventLoop::kPriorityIdle);
  idle_.Arm();
}

void Server::Idle() {
  if (abandoned_) return;
  auto more = store().Step();
  if (!more) {
    ScheduleTurn();  // its commit reports a failed store
    return;
  }
  if (*more) BackgroundWork();
  if (store().dirty()) {
    // Freed chunks are there for a waiting grant when that is durable.
    if (!space_.waiting()) return ScheduleTurn();
    EndTurn();
  }
  space_.Advance(*more);
}

// ---- the link

void Server::SetKernel(KernelSession* kernel) {
  if (kernel_ != nullptr) {
    Log(LOG_NOTICE, "a newer kernel link replaces the present one");
    Relink();
  }
  kernel_ = kernel;
  live_changed_ = false;
}

void Server::KernelGone(KernelSession* kernel) {
  if (kernel_ != kernel) return;
  Log(LOG_INFO, "kernel link closed");
  last_attached_ = kernel->attached();
  kernel_ = nullptr;
  space_.OnLinkLost();
  link_waiter_.OnLinkLost();
  creations_.OnLinkLost();
  ScheduleTurn();
}

void Server::Relink() {
  if (kernel_ == nullptr) return;
  KernelSession* old = kernel_;
  KernelGone(old);
  old->Close();
}

uint32_t Server::AttachedCount(Epoch snapshot) const {
  const auto& attached = kernel_ != nullptr ? kernel_->attached() : last_attached_;
  const auto it = attached.find(snapshot);
  return it == attached.end() ? 0 : it->second;
}

// ---- the end

void Server::Shutdown() {
  if (std::exchange(ending_, true)) return;
  accept_.Reset();  // who connects from now on waits for a successor
  for (const auto& session : sessions_) session->StopRequests();
  end_.ArmAfter(kEndMs);
  ScheduleTurn();
}

// Without the kernel's link, what waits for one may wait in vain.
bool Server::RequestsUnderWay() const {
  const bool in_vain = kernel_ == nullptr && (link_waiter_.waiting() || creations_.waiting());
  return !in_vain &&
         std::any_of(sessions_.begin(), sessions_.end(), [](const auto& s) { return s->busy(); });
}

void Server::Report(int priority, const Event& event, const std::string& text,
                    const std::vector<LogField>& fields) {
  ReportEvent(priority, event, config_.volume, text, fields);
}

Status Server::Finish() {
  if (abandoned_) return std::unexpected(*abandoned_);
  CommitTurn();
  if (abandoned_) return std::unexpected(*abandoned_);
  return store().Checkpoint();
}

Handover Server::Leave() {
  Handover left;
  left.kept.commits = store().commits();
  for (const auto& session : sessions_) {
    auto one = session->Leave();
    if (!one || HungUp(one->fd)) continue;
    left.kept.connections.push_back(std::move(one->kept));
    left.fds.push_back(std::move(one->fd));
  }
  return left;
}

void Server::TakeUp(Handover left) {
  for (size_t i = 0; i < left.fds.size(); ++i) {
    const wire::KeptConnection& kept = left.kept.connections[i];
    const auto session = std::make_shared<Session>(*this, loop_, std::move(left.fds[i]));
    Status s;
    if (kept.link && left.kept.commits != store().commits())
      s = Fail(ESTALE, "the store has changed");
    if (s) s = session->Continue(kept);
    if (s) {
      sessions_.push_back(session);
    } else {
      Log(LOG_NOTICE, "the kernel's link is not taken over: " + s.error().text);
    }
  }
}

}  // namespace ddsnap::server
