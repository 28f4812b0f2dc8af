// SPDX-License-Identifier: GPL-2.0
#include "kernel_session.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/uuid.h"
#include "server.h"

namespace ddsnap::server {
namespace {

uint32_t RunKind(Run::Kind kind) {
  switch (kind) {
    case Run::Kind::kOrigin:
      return DDSNAP_RUN_ORIGIN;
    case Run::Kind::kShared:
      return DDSNAP_RUN_SHARED;
    case Run::Kind::kPrivate:
      return DDSNAP_RUN_PRIVATE;
    case Run::Kind::kUnreadable:
      return DDSNAP_RUN_UNREADABLE;
  }
  return DDSNAP_RUN_UNREADABLE;
}

}  // namespace

template <typename M>
void KernelSession::Hold(const M& message) {
  wire::Put(session_.held(), message);
  server_.ScheduleTurn();
}

Status KernelSession::OnFrame(const wire::Frame& frame) {
  if (refused_) return {};
  if (!welcome_) {
    if (frame.type != wire::Hello::kType) return Fail(EPROTO, "no HELLO");
    return Greet(wire::Get<wire::Hello>(frame));
  }
  switch (frame.type) {
    case wire::Attach::kType:
      return Attach(wire::Get<wire::Attach>(frame).value);
    case wire::Detach::kType:
      return Detach(wire::Get<wire::Detach>(frame).value);
    case wire::Report::kType:
      return Report(frame);
    case wire::Map::kType:
      for (const auto& map : wire::GetAll<wire::Map>(frame)) {
        if (Status s = Map(map); !s) return s;
      }
      return {};
    case wire::GrantWanted::kType:
      return GrantWanted(wire::Get<wire::GrantWanted>(frame).value);
    case wire::Return::kType:
      Return(frame);
      return {};
    case wire::Ready::kType:
      return server_.creations().OnReady(wire::Get<wire::Ready>(frame).value);
    case wire::Dropped::kType:
      server_.space().OnDropped(wire::Get<wire::Dropped>(frame).value);
      return {};
    default:
      return Fail(EPROTO, std::string("unexpected ") + wire::TypeName(frame.type));
  }
}

Status KernelSession::Check(const wire::Hello& hello) const {
  SnapStore& store = server_.store();
  if (hello.version != wire::kProtocol) {
    return Fail(EPROTONOSUPPORT, "kernel speaks protocol " + std::to_string(hello.version) +
                                     ", this server " + std::to_string(wire::kProtocol));
  }
  if (hello.uuid != store.uuid()) {
    return Fail(ESTALE, "kernel wants volume " + FormatUuid(hello.uuid) + ", this is " +
                            FormatUuid(store.uuid()));
  }
  if (hello.origin_sectors < store.origin_size() / 512) {
    return Fail(EINVAL, "origin has shrunk to " + std::to_string(hello.origin_sectors) +
                            " sectors from " + std::to_string(store.origin_size() / 512));
  }
  if (hello.store_sectors < server_.volume().store_sectors()) {
    return Fail(EINVAL, "snapshot store has " + std::to_string(hello.store_sectors) +
                            " sectors for the kernel, its server uses " +
                            std::to_string(server_.volume().store_sectors()));
  }
  return {};
}

Status KernelSession::Greet(const wire::Hello& hello) {
  if (const Status s = Check(hello); !s) {
    Log(LOG_ERR, "kernel refused: " + s.error().text);
    refused_ = true;
    session_.channel().SendMessage(wire::Refused{s.error().code, s.error().text});
    session_.channel().Finish();
    return {};
  }
  origin_sectors_ = hello.origin_sectors;
  store_sectors_ = hello.store_sectors;
  server_.SetKernel(this);
  Log(LOG_INFO, "kernel linked");
  hello_ = hello;
  welcome_ = true;
  SnapStore& store = server_.store();
  Hold(wire::Welcome{
      .chunk_shift = static_cast<uint32_t>(std::countr_zero(store.chunk_size() / 512)),
      .uuid = store.uuid(),
      .epoch = store.epoch(),
      .live = server_.live()});
  if (server_.abandoned()) SendAbandon(*server_.abandoned());
  server_.link_waiter().OnLinked();
  return {};
}

std::optional<wire::KeptLink> KernelSession::Link() const {
  if (!welcome_ || refused_ || server_.kernel() != this || !server_.kernel_knows_all()) {
    return std::nullopt;
  }
  return wire::KeptLink{.hello = hello_,
                        .epoch = server_.store().epoch(),
                        .live = server_.live(),
                        .recorded = recorded_,
                        .wanted = server_.space().wanted(),
                        .last_barrier = server_.creations().last_barrier(),
                        .grants_settled = grants_settled_,
                        .attached = attached_,
                        .dropping = server_.space().dropping()};
}

// What this session and the policies knew of the link, they know again.  All else
// that they know follows from the store.
Status KernelSession::Continue(const wire::KeptLink& link) {
  if (Status s = Check(link.hello); !s) return s;
  if (link.epoch != server_.store().epoch() || link.live != server_.live()) {
    return Fail(ESTALE, "snapshots have changed");
  }
  hello_ = link.hello;
  origin_sectors_ = hello_.origin_sectors;
  store_sectors_ = hello_.store_sectors;
  welcome_ = true;
  attached_ = link.attached;
  grants_settled_ = link.grants_settled;
  recorded_ = link.recorded;
  acked_ = link.recorded;
  server_.SetKernel(this);
  server_.creations().Continue(link.last_barrier);
  server_.space().Continue(link.dropping, link.wanted, grants_settled_);
  server_.link_waiter().OnLinked();
  told_ = true;
  Heard();
  if (grants_settled_) server_.link_waiter().OnSettled();
  Log(LOG_INFO, "kernel link taken over");
  return {};
}

Status KernelSession::Attach(Epoch snapshot) {
  SnapStore& store = server_.store();
  wire::Attached answer{.snapshot = snapshot};
  if (snapshot == 0) {
    if (!store.attached() && !server_.abandoned()) {
      if (Status s = store.SetAttached(true); !s) return s;
    }
  } else if (const Snapshot* known = store.FindEpoch(snapshot);
             known == nullptr || known->state == Snapshot::State::kDeleting ||
             known->state == Snapshot::State::kBookmark) {
    answer.error = ENOENT;
  } else if (known->state == Snapshot::State::kGivenUp || server_.abandoned()) {
    answer.error = ESTALE;
  }
  Heard();
  if (answer.error != ENOENT) ++attached_[snapshot];
  Hold(answer);
  // It may still read the store by mappings of an earlier link.
  if (answer.error == ESTALE) server_.space().OnAttachGivenUp(snapshot);
  return {};
}

Status KernelSession::Detach(Epoch snapshot) {
  const auto it = attached_.find(snapshot);
  if (it == attached_.end()) return {};  // was refused, or repeated
  if (--it->second == 0) attached_.erase(it);
  server_.ScheduleTurn();
  if (snapshot == 0 && Attached(0) == 0 && !server_.abandoned()) {
    return server_.store().SetAttached(false);
  }
  return {};
}

uint32_t KernelSession::Attached(Epoch snapshot) const {
  const auto it = attached_.find(snapshot);
  return it == attached_.end() ? 0 : it->second;
}

Status KernelSession::Report(const wire::Frame& frame) {
  // What cannot be recorded is not acknowledged, nor counted; after ABANDON,
  // which is on its way, nobody waits for it.
  if (server_.abandoned() || server_.store().failed()) return {};
  if (frame.sequence != recorded_ + 1) {
    return Fail(EPROTO, "REPORT is numbered " + std::to_string(frame.sequence) + ", not " +
                            std::to_string(recorded_ + 1));
  }
  server_.CopiesReported();
  Heard();
  for (const auto& report : wire::GetAll<wire::Report>(frame)) {
    if (Status s = Record(report); !s) {
      if (server_.store().failed()) return {};  // the turn's commit finds out
      return s;
    }
    ++recorded_;
  }
  return {};
}

Status KernelSession::Record(const wire::Report& r) {
  SnapStore& store = server_.store();
  // Snapshots of a larger origin are larger; of one that is gone the store knows nothing.
  const Snapshot* snapshot = r.snapshot == 0 ? nullptr : store.FindEpoch(r.snapshot);
  const uint64_t size =
      snapshot != nullptr ? std::max(snapshot->size, store.origin_size()) : store.origin_size();
  const uint64_t chunks = (size + store.chunk_size() - 1) / store.chunk_size();
  if (r.count == 0 || r.count > chunks || r.chunk > chunks - r.count) {
    return Fail(EPROTO, "REPORT of chunks " + std::to_string(r.chunk) + "+" +
                            std::to_string(r.count) + " outside of the origin");
  }
  return server_.space().WithSpace([&]() -> Status {
    if (r.snapshot != 0 && r.unreadable) return store.Return({r.address, r.count});
    if (r.snapshot != 0) return store.RecordPrivate(r.snapshot, r.chunk, r.count, r.address);
    if (r.unreadable) return store.RecordUnreadable(r.chunk, r.count, r.address);
    return store.RecordCopy(r.chunk, r.count, r.address);
  });
}

Status KernelSession::Map(const wire::Map& request) {
  wire::MappedHead head{.id = request.id, .snapshot = request.snapshot, .chunk = request.chunk};
  std::vector<wire::MapRun> runs;
  if (server_.abandoned()) {
    head.error = ESTALE;
  } else if (request.count == 0) {
    head.error = EINVAL;
  } else if (auto found = server_.store().Lookup(request.snapshot, request.chunk, request.count,
                                                 wire::kMaxRuns);
             !found) {
    head.error = found.error().code;
    if (head.error != ENOENT && head.error != ESTALE) {
      Log(LOG_ERR, "lookup: " + found.error().text);
    }
  } else {
    for (const Run& run : *found) {
      runs.push_back({.address = run.address,
                      .count = static_cast<uint32_t>(run.count),
                      .kind = RunKind(run.kind)});
    }
    head.runs = static_cast<uint32_t>(runs.size());
  }
  wire::PutMapped(session_.held(), head, runs);
  server_.ScheduleTurn();
  return {};
}

Status KernelSession::GrantWanted(uint64_t chunks) {
  if (chunks == 0) return Fail(EPROTO, "GRANT_WANTED of nothing");
  if (!grants_settled_ && !server_.abandoned()) {
    grants_settled_ = true;
    if (Status s = server_.store().ReturnAllGrants(); !s) {
      if (server_.store().failed()) return {};
      return s;
    }
    server_.space().OnLinkSettled();
    server_.link_waiter().OnSettled();
  }
  server_.space().Want(chunks);
  return {};
}

void KernelSession::Return(const wire::Frame& frame) {
  for (const auto& range : wire::GetAll<wire::Return>(frame)) {
    if (server_.abandoned()) return;
    if (Status s = server_.store().Return({range.address, range.count}); !s) {
      Log(LOG_WARNING, "RETURN: " + s.error().text);
    }
  }
  server_.ScheduleTurn();
}

void KernelSession::FlushAck() {
  if (acked_ == recorded_) return;
  acked_ = recorded_;
  wire::Put(session_.held(), wire::Ack{.through = recorded_, .epoch = server_.store().epoch()});
}

// WELCOME goes out with the turn's answers, which may be long after HELLO: what the kernel says
// next is waited for from then on.
void KernelSession::Heard() {
  if (told_ && server_.kernel() == this) server_.link_waiter().OnHeard();
}

void KernelSession::OnCommitted() {
  FlushAck();
  if (welcome_ && !std::exchange(told_, true)) Heard();
}

void KernelSession::OnCommitFailed(const Error& why) {
  // Nothing of this turn may be acknowledged any more.
  acked_ = recorded_;
  if (!welcome_) return;
  SendAbandon(why);
  if (!std::exchange(told_, true)) Heard();
}

void KernelSession::SendBarrier(uint64_t id) { Hold(wire::Barrier{id}); }

void KernelSession::SendResume(uint64_t id) {
  Hold(wire::Resume{.id = id, .epoch = server_.store().epoch(), .live = server_.live()});
}

void KernelSession::SendDrop(Epoch snapshot) { Hold(wire::Drop{snapshot}); }

// What a copy needs no chunk for is free as soon as it is recorded, and may be granted in the same
// turn.  The kernel must not use it for another copy while it would still report the first one
// again: so the acknowledgement goes first.
void KernelSession::SendGrant(std::span<const Range> ranges) {
  FlushAck();
  std::vector<wire::Grant> grants;
  for (const Range& range : ranges) grants.push_back({range.address, range.count});
  wire::PutAll<wire::Grant>(session_.held(), grants);
  server_.ScheduleTurn();
}

void KernelSession::SendDenied() {
  session_.held().Put(DDSNAP_DENIED, 0, {});
  server_.ScheduleTurn();
}

void KernelSession::SendAbandon(const Error& why) { Hold(wire::Abandon{why.code, why.text}); }

void KernelSession::Close() {
  session_.channel().Close();
  server_.Forget(session_);
}

void KernelSession::OnClosed(const std::string& why) {
  if (!why.empty()) Log(LOG_WARNING, "kernel link broken: " + why);
  server_.KernelGone(this);
}

}  // namespace ddsnap::server
