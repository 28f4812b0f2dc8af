// SPDX-License-Identifier: GPL-2.0
#include "creation_queue.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "kernel_session.h"
#include "server.h"

namespace ddsnap::server {
namespace {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

CreationQueue::CreationQueue(Server& server, EventLoop& loop)
    : server_(server), timer_(loop.AddTimer([this] { OnTimer(); })) {}

void CreationQueue::Create(Tag tag, Done done) {
  if (server_.store().Find(tag) != nullptr) {
    done(Fail(EEXIST, "snapshot " + std::to_string(tag) + ": exists already"));
    return;
  }
  if (const Snapshot* target = server_.store().FindEpoch(server_.store().reverting())) {
    done(Fail(EBUSY, "snapshot " + std::to_string(tag) + ": the origin is being reverted to snapshot " +
                         std::to_string(target->tag)));
    return;
  }
  requests_.push_back({tag, std::move(done)});
  if (requests_.size() == 1) Begin();  // else it shares the wait of the first
}

void CreationQueue::Begin() {
  server_.link_waiter().Wait([this](const Status& s) {
    if (!s) return FailAll(s.error());
    if (requests_.empty()) return;
    KernelSession* kernel = server_.kernel();
    if (kernel == nullptr) return StageAll();  // none is attached
    barrier_ = ++last_barrier_;
    kernel->SendBarrier(barrier_);
    timer_.ArmAfter(server_.config().wait_ms);
  });
}

Status CreationQueue::OnReady(uint64_t barrier) {
  if (barrier != barrier_) return {};  // of one that timed out
  StageAll();
  return {};
}

// The origin is quiet and flushed, or not in use at all.
void CreationQueue::StageAll() {
  timer_.Disarm();
  KernelSession* kernel = server_.kernel();
  if (kernel != nullptr) kernel->FlushAck();
  for (Request& request : std::exchange(requests_, {})) {
    request.done(server_.store().Create(request.tag, NowNs()));
  }
  const uint64_t barrier = std::exchange(barrier_, 0);
  if (kernel != nullptr) kernel->SendResume(barrier);
  server_.ScheduleTurn();
}

void CreationQueue::OnLinkLost() {
  if (std::exchange(barrier_, 0) == 0) return;
  timer_.Disarm();
  Begin();  // the next link gets a barrier of its own
}

void CreationQueue::OnTimer() {
  Log(LOG_WARNING, "the origin did not become quiet: no snapshot is created");
  const uint64_t barrier = std::exchange(barrier_, 0);
  if (server_.kernel() != nullptr) server_.kernel()->SendResume(barrier);
  FailAll({ETIMEDOUT, "the origin did not become quiet in time"});
}

void CreationQueue::FailAll(const Error& why) {
  timer_.Disarm();
  barrier_ = 0;
  for (Request& request : std::exchange(requests_, {})) {
    request.done(Fail(why.code, "snapshot " + std::to_string(request.tag) + ": " + why.text));
  }
  server_.ScheduleTurn();
}

}  // namespace ddsnap::server
