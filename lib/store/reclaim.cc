// SPDX-License-Identifier: GPL-2.0
// Freeing: what snapshots that are gone have left, and what bookmarks do not need.
//
// The range of an exception are the epochs above its chunk's exception before, up to its label.
// Holders are live snapshots and bookmarks.  What always holds, whatever has been reclaimed so far:
//
// 1. The first exception of a chunk with a label not below a live snapshot's epoch has that
//    snapshot's content of it.  So an exception is without an address only while no live snapshot
//    that has the chunk is in its range; and none comes into it later, for a new snapshot's epoch
//    is above every label.
// 2. A chunk that was written to since a holder that has it was created has an exception with a
// label
//    not below its epoch, and the first such label is the epoch under which it was first written
//    to.  So an exception is there as long as any holder is in its range.  A changelist from a
//    bookmark is exact for that: deleting a snapshot between it and a later one takes no exception
//    whose range has the bookmark, and one that it takes had a label that is not the chunk's first.
// 3. Freeing an exception gives its range to the next one of the chunk.  There was no holder in
//    it: the next one has the same holders as before.
//
// So an exception of whose range one epoch goes is kept (a live snapshot is left), stripped of its
// address (a bookmark is left), or freed.  Which one follows from the tables alone, in any order of
// jobs; a job that was cut off begins anew and does what is left of it.
#include <algorithm>
#include <cerrno>
#include <string>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

constexpr size_t kReclaimFrees = 256;   // exceptions freed by one Step
constexpr size_t kReclaimLooks = 1024;  // exceptions looked at by one Step

}  // namespace

std::optional<Epoch> SnapStoreImpl::NextReclaim() const {
  if (reclaim_) return reclaim_->epoch;
  for (const Snapshot& snap : snapshots_) {
    if (snap.state == Snapshot::State::kDeleting) return snap.epoch;
    if (snap.state == Snapshot::State::kOk || extra_.at(snap.epoch).reclaimed) continue;
    if (snap.state == Snapshot::State::kBookmark || released_.contains(snap.epoch))
      return snap.epoch;
  }
  return std::nullopt;
}

Status SnapStoreImpl::ReclaimSlice() {
  const auto epoch = NextReclaim();
  if (!epoch) return {};
  if (!reclaim_) reclaim_ = Reclaim{*epoch, {*epoch, 0}, false};
  Status s = reclaim_->privates ? ReclaimPrivates(*reclaim_) : ReclaimExceptions(*reclaim_);
  return s ? s : Poison(std::move(s));
}

// Exceptions that the epoch was the last live snapshot of are labelled from it up to the next live
// one.  Where it has been none for long (a bookmark that was stripped), only those are left that it
// was the last holder of.
Epoch SnapStoreImpl::ReclaimEnd(Epoch snapshot) const {
  const auto next = [snapshot](const std::vector<Epoch>& holders) {
    const auto it = std::upper_bound(holders.begin(), holders.end(), snapshot);
    return it == holders.end() ? ~Epoch{0} : *it;
  };
  return extra_.at(snapshot).reclaimed ? std::min(next(live_), next(marks_)) : next(live_);
}

// Whether a device may still read a snapshot in there that was given up: what served it is left to
// its own job, which comes after ReleaseGivenUp and looks at all of it again.
bool SnapStoreImpl::AnyReadIn(Epoch after, Epoch through) const {
  for (auto it = dying_.upper_bound(after); it != dying_.end() && *it <= through; ++it)
    if (!released_.contains(*it)) return true;
  return false;
}

Result<SnapStoreImpl::Fate> SnapStoreImpl::FateOf(uint64_t chunk, Epoch label) {
  auto before = LastException(chunk, label - 1);
  if (!before) return Pass(before);
  const Epoch after = *before ? (*before)->key.minor : 0;
  if (AnyIn(live_, after, label) || AnyReadIn(after, label)) return Fate::kKeep;
  if (!AnyIn(marks_, after, label)) return Fate::kFree;
  auto own = trees_[disk::kExceptions]->Get({chunk, label});
  if (!own) return Pass(own);
  return *own && (**own)[0] == kNotKept ? Fate::kKeep : Fate::kStrip;
}

Status SnapStoreImpl::ReclaimExceptions(Reclaim& job) {
  const Epoch end = ReclaimEnd(job.epoch);
  std::vector<Key> seen;
  Status s = trees_[disk::kLabels]->Scan(job.next, [&](const Entry& entry) {
    if (entry.key.major >= end || seen.size() == kReclaimLooks) return false;
    seen.push_back(entry.key);
    return true;
  });
  if (!s) return s;
  std::vector<disk::Exception> free;
  std::vector<disk::Exception> strip;
  size_t done = 0;
  for (; done < seen.size() && free.size() + strip.size() < kReclaimFrees; ++done) {
    const auto [label, chunk] = seen[done];
    auto fate = FateOf(chunk, label);
    if (!fate) return Pass(fate);
    if (*fate == Fate::kFree) free.push_back({label, chunk});
    if (*fate == Fate::kStrip) strip.push_back({label, chunk});
  }
  for (const auto& [type, items] : {std::pair{disk::kFree, &free}, {disk::kStrip, &strip}}) {
    if (items->empty()) continue;
    s = Change(type, std::span<const disk::Exception>(*items),
               [&, keep = type == disk::kStrip] { return ApplyFree(*items, keep); });
    if (!s) return s;
  }
  if (done < seen.size() || done == kReclaimLooks) {
    job.next = {seen[done - 1].major, seen[done - 1].minor + 1};
  } else {
    job.privates = true;
    job.next = {job.epoch, 0};
  }
  return {};
}

// Of a bookmark the entries stay: it has to name the chunks in which it was not as the origin.
Status SnapStoreImpl::ReclaimPrivates(Reclaim& job) {
  const Epoch epoch = job.epoch;
  const bool keep = FindEpoch(epoch)->state == Snapshot::State::kBookmark;
  std::vector<disk::Exception> free;
  size_t looks = 0;
  Status s = trees_[disk::kPrivates]->Scan(job.next, [&](const Entry& entry) {
    if (entry.key.major != epoch || free.size() == kReclaimFrees || looks == kReclaimLooks)
      return false;
    ++looks;
    if (!keep || entry.value[0] != kNotKept) free.push_back({entry.key.major, entry.key.minor});
    job.next.minor = entry.key.minor + 1;
    return true;
  });
  if (!s) return s;
  if (!free.empty())
    return Change(keep ? disk::kStripPrivate : disk::kFreePrivate,
                  std::span<const disk::Exception>(free),
                  [&] { return ApplyFreePrivate(free, keep); });
  if (looks > 0) return {};
  reclaim_.reset();
  return Change(disk::kReclaimed, disk::Number{epoch, uint64_t{0}},
                [&] { return ApplyReclaimed(epoch); });
}

// ---- what the journal has records of

Status SnapStoreImpl::ApplyFree(std::span<const disk::Exception> items, bool keep) {
  BTree& exceptions = *trees_[disk::kExceptions];
  for (const disk::Exception& item : items) {
    const Epoch label = item.major;
    const uint64_t chunk = item.minor;
    const auto missing = [&] {
      return Fail(EBADMSG, "exception of chunk " + std::to_string(chunk) + ": is not there");
    };
    auto value = exceptions.Get({chunk, label});
    if (!value) return Pass(value);
    if (!*value) return missing();
    if (keep) {
      if (Status s = exceptions.Put({chunk, label}, {kNotKept}); !s) return s;
    } else {
      auto indexed = trees_[disk::kLabels]->Erase({label, chunk});
      if (!indexed) return Pass(indexed);
      if (!*indexed) return missing();
      if (auto gone = exceptions.Erase({chunk, label}); !gone) return Pass(gone);
    }
    if (!HasAddress((**value)[0])) continue;
    if (Status s = FreeChunks((**value)[0], 1, true); !s) return s;
  }
  return {};
}

Status SnapStoreImpl::ApplyFreePrivate(std::span<const disk::Exception> items, bool keep) {
  if (items.empty()) return {};
  const Epoch snapshot = items.front().major;
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr || snap->state == Snapshot::State::kOk ||
      keep != (snap->state == Snapshot::State::kBookmark))
    return Fail(EBADMSG,
                "private chunks of epoch " + std::to_string(snapshot) + ": are not to be freed");
  BTree& privates = *trees_[disk::kPrivates];
  for (const disk::Exception& item : items) {
    const Key key{item.major, item.minor};
    if (key.major != snapshot) return Fail(EBADMSG, "private chunks of several snapshots");
    auto value = privates.Get(key);
    if (!value) return Pass(value);
    if (!*value)
      return Fail(EBADMSG, "private chunk " + std::to_string(key.minor) + ": is not there");
    if (keep) {
      if (Status s = privates.Put(key, {kNotKept}); !s) return s;
    } else {
      if (auto gone = privates.Erase(key); !gone) return Pass(gone);
      Extra& extra = extra_[snapshot];
      if (extra.privates > 0) --extra.privates;
    }
    if (!HasAddress((**value)[0])) continue;
    if (Status s = FreeChunks((**value)[0], 1, true); !s) return s;
  }
  return PutSnapshot(snapshot);
}

Status SnapStoreImpl::ApplyReclaimed(Epoch snapshot) {
  Snapshot* snap = Mutable(snapshot);
  if (snap == nullptr)
    return Fail(EBADMSG, "reclaimed epoch " + std::to_string(snapshot) + ": is not there");
  if (snap->state == Snapshot::State::kOk)
    return Fail(EBADMSG, "epoch " + std::to_string(snapshot) + ": is live and cannot be reclaimed");
  if (snap->state != Snapshot::State::kDeleting) {
    extra_[snapshot].reclaimed = true;
    dying_.erase(snapshot);
    return PutSnapshot(snapshot);
  }
  snapshots_.erase(snapshots_.begin() + (snap - snapshots_.data()));
  extra_.erase(snapshot);
  released_.erase(snapshot);
  auto gone = trees_[disk::kSnapshots]->Erase({snapshot, 0});
  if (!gone) return Pass(gone);
  return {};
}

}  // namespace ddsnap
