// SPDX-License-Identifier: GPL-2.0
#include "link_waiter.h"

#include <cerrno>
#include <utility>

#include "server.h"

namespace ddsnap::server {
namespace {

constexpr uint64_t kLookAgainMs = 1000;
// A kernel names its devices and reports anew right after WELCOME, and says that it is done by
// wanting grants.  Modules loaded from earlier versions need not: silence for that long will do.
constexpr uint64_t kSettleMs = 300;

}  // namespace

LinkWaiter::LinkWaiter(Server& server, EventLoop& loop)
    : server_(server),
      look_again_(loop.AddTimer([this] { Look(); })),
      settle_(loop.AddTimer([this] { OnSettled(); })) {}

bool LinkWaiter::May() {
  if (server_.kernel() != nullptr) return settled_;
  return !server_.volume().MaybeAttached();
}

void LinkWaiter::Wait(Work work) {
  if (May()) return work({});
  waiting_.push_back({EventLoop::NowMs() + server_.config().wait_ms, std::move(work)});
  look_again_.ArmAfter(kLookAgainMs);
}

void LinkWaiter::Look() {
  for (Waiting& waiting : std::exchange(waiting_, {})) {
    if (May()) {
      waiting.work({});
    } else if (EventLoop::NowMs() >= waiting.deadline) {
      waiting.work(Fail(EAGAIN, "a kernel is attached, but has no link to this server"));
    } else {
      waiting_.push_back(std::move(waiting));
    }
  }
  if (!waiting_.empty()) look_again_.ArmAfter(kLookAgainMs);
}

void LinkWaiter::OnLinked() {
  settled_ = false;
  settle_.Disarm();
}

void LinkWaiter::OnHeard() {
  if (!settled_) settle_.ArmAfter(kSettleMs);
}

void LinkWaiter::OnSettled() {
  if (server_.kernel() == nullptr) return;
  settled_ = true;
  settle_.Disarm();
  Look();
}

}  // namespace ddsnap::server
