// SPDX-License-Identifier: GPL-2.0
#include "space_policy.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "kernel_session.h"
#include "server.h"

namespace ddsnap::server {
namespace {

// One GRANT frame holds that many ranges, even if each is a single chunk.
constexpr uint64_t kMaxGrant = wire::kMaxPayload / sizeof(ddsnap_range);

}  // namespace

void SpacePolicy::Want(uint64_t chunks) {
  wanted_ = std::min(chunks, kMaxGrant);
  Advance(true);
}

void SpacePolicy::Advance(bool more_work) {
  KernelSession* kernel = server_.kernel();
  if (wanted_ == 0 || kernel == nullptr || server_.abandoned()) return;
  auto ranges = server_.store().Grant(wanted_);
  if (ranges) {
    wanted_ = 0;
    kernel->SendGrant(*ranges);
    return;
  }
  const int code = ranges.error().code;
  if (code == EAGAIN) return server_.BackgroundWork();  // that frees it, and wakes us
  if (code != ENOSPC) {
    server_.ScheduleTurn();  // its commit reports a failed store
    return;
  }
  if (more_work) return server_.BackgroundWork();
  if (!dropping_.empty() || GiveUpOne()) return;  // DROPPED, or its background work, wakes us
  wanted_ = 0;
  server_.Report(
      LOG_ERR, kStoreFullEvent,
      "snapshot store is full and no snapshot may be given up: writes to the origin fail");
  kernel->SendDenied();
}

bool SpacePolicy::GiveUpOne() {
  const auto victim = server_.store().VictimForSpace(
      [this](Epoch snapshot) { return server_.AttachedCount(snapshot) != 0; });
  if (!victim) return false;
  return GiveUp(*victim).has_value();
}

Status SpacePolicy::GiveUp(Epoch victim) {
  SnapStore& store = server_.store();
  const Snapshot* snapshot = store.FindEpoch(victim);
  const std::string tag = snapshot != nullptr ? std::to_string(snapshot->tag) : "?";
  const bool mark = snapshot != nullptr && snapshot->state == Snapshot::State::kBookmark;
  const std::string name = (mark ? "bookmark " : "snapshot ") + tag;
  if (Status s = store.GiveUp(victim); !s) {
    Log(LOG_ERR, name + ": cannot be given up: " + s.error().text);
    return s;
  }
  server_.Report(LOG_WARNING, kGivenUpEvent, name + ": given up, for the snapshot store is full",
                 {{"ZUMASTOR_TAG", tag}, {"ZUMASTOR_EPOCH", std::to_string(victim)}});
  server_.LiveChanged();
  if (server_.AttachedCount(victim) != 0 && server_.kernel() != nullptr) {
    dropping_.insert(victim);
    server_.kernel()->SendDrop(victim);
  } else if (server_.AttachedCount(victim) == 0) {
    store.ReleaseGivenUp(victim);
  }
  server_.BackgroundWork();
  return {};
}

Status SpacePolicy::WithSpace(const std::function<Status()>& staged) {
  for (;;) {
    Status s = staged();
    if (s || s.error().code != ENOSPC || server_.store().failed()) return s;
    if (!GiveUpOne()) return s;
    for (;;) {
      auto more = server_.store().Step();
      if (!more) return Pass(more);
      if (!*more) break;
    }
    if (Status committed = server_.store().Commit(/*flush_copies=*/true); !committed)
      return committed;
  }
}

void SpacePolicy::GiveUpAll() {
  std::vector<Epoch> all;
  for (const Snapshot& snapshot : server_.store().snapshots()) {
    if (snapshot.is_base()) all.push_back(snapshot.epoch);
  }
  for (const Epoch epoch : all) (void)GiveUp(epoch);
}

void SpacePolicy::ReportFill() {
  const StoreSpace space = server_.store().space();
  const auto level = fill_.Update(space.total_chunks, space.total_chunks - space.free_chunks);
  if (!level) return;
  const std::string percent = std::to_string(*level);
  server_.Report(LOG_WARNING, kStoreFillingEvent,
                 "snapshot store is " + percent + " % full; snapshots are given up when it is full",
                 {{"ZUMASTOR_PERCENT", percent}});
}

void SpacePolicy::OnDropped(Epoch snapshot) {
  if (dropping_.erase(snapshot) == 0) return;
  server_.store().ReleaseGivenUp(snapshot);
  server_.BackgroundWork();
}

void SpacePolicy::OnAttachGivenUp(Epoch snapshot) {
  if (snapshot == 0 || server_.kernel() == nullptr) return;
  dropping_.insert(snapshot);
  server_.kernel()->SendDrop(snapshot);
}

void SpacePolicy::OnLinkLost() {
  wanted_ = 0;
  dropping_.clear();
}

void SpacePolicy::Continue(const std::set<Epoch>& dropping, uint64_t wanted, bool settled) {
  dropping_ = dropping;
  if (settled) OnLinkSettled();
  if (wanted != 0) Want(wanted);
}

void SpacePolicy::OnLinkSettled() {
  bool released = false;
  for (const Snapshot& snapshot : server_.store().snapshots()) {
    if (snapshot.state != Snapshot::State::kGivenUp) continue;
    if (dropping_.contains(snapshot.epoch)) continue;
    server_.store().ReleaseGivenUp(snapshot.epoch);
    released = true;
  }
  if (released) server_.BackgroundWork();
}

}  // namespace ddsnap::server
