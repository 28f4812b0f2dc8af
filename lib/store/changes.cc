// SPDX-License-Identifier: GPL-2.0
// The changing calls of the store and what they do to memory.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

std::string Name(Epoch epoch) { return "snapshot with epoch " + std::to_string(epoch); }

// States only go forward: ok, bookmark, given up, being deleted.
int Rank(Snapshot::State state) {
  switch (state) {
    case Snapshot::State::kOk:
      return 0;
    case Snapshot::State::kBookmark:
      return 1;
    case Snapshot::State::kGivenUp:
      return 2;
    case Snapshot::State::kDeleting:
      return 3;
  }
  return 3;
}

}  // namespace

Status SnapStoreImpl::CheckWritable() const {
  if (failed_) return std::unexpected(*failed_);
  if (options_.read_only) return Fail(EROFS, store_.name() + ": opened for reading only");
  return {};
}

Status SnapStoreImpl::Poison(Status s) {
  if (!s && !failed_) failed_ = s.error();
  return s;
}

Snapshot* SnapStoreImpl::Mutable(Epoch epoch) { return const_cast<Snapshot*>(FindEpoch(epoch)); }

// ---- space

Status SnapStoreImpl::FreeChunks(uint64_t address, uint64_t count, bool pin) {
  return maps_[1]->Clear(address, count, pin);
}

Result<std::vector<Range>> SnapStoreImpl::Grant(uint64_t chunks) {
  if (Status s = CheckWritable(); !s) return Pass(s);
  constexpr size_t kMaxRanges = 64;
  uint64_t left = std::min(chunks, GrantableChunks());
  std::vector<Range> ranges;
  std::vector<disk::Extent> extents;
  while (left > 0 && ranges.size() < kMaxRanges) {
    auto found = maps_[1]->AllocateUp(left);
    if (!found) {
      const Status s = Pass(found);
      return std::unexpected(Poison(s).error());
    }
    if (!*found) break;
    ranges.push_back({(*found)->start, (*found)->count});
    extents.push_back({ranges.back().address, ranges.back().count});
    grants_.Add(ranges.back().address, ranges.back().count);
    left -= ranges.back().count;
  }
  if (ranges.empty()) {
    const bool coming = maps_[1]->pinned() > 0 || maps_[0]->pinned() > 0 || NextReclaim();
    want_space_ = coming;
    return coming ? Fail(EAGAIN, store_.name() + ": space is being freed")
                  : Fail(ENOSPC, store_.name() + ": no free chunks");
  }
  want_space_ = false;
  journal_->Append(disk::kGrant, std::span<const disk::Extent>(extents));
  return ranges;
}

Status SnapStoreImpl::ApplyGrant(uint64_t address, uint64_t count, bool kept) {
  const uint64_t all = maps_[1]->units();
  if (address >= all || count > all - address) return Fail(EBADMSG, "a grant outside the store");
  if (!kept)
    if (Status s = maps_[1]->Set(address, count); !s) return s;
  grants_.Add(address, count);
  return {};
}

Status SnapStoreImpl::Return(const Range& range) {
  if (Status s = CheckWritable(); !s) return s;
  if (range.count == 0 || range.address + range.count < range.address ||
      !grants_.Contains(range.address, range.count))
    return Fail(EINVAL, "chunks returned that were not granted");
  return Change(disk::kReturn, disk::Extent{range.address, range.count},
                [&] { return ApplyReturn(range.address, range.count); });
}

Status SnapStoreImpl::ApplyReturn(uint64_t address, uint64_t count) {
  if (!grants_.Contains(address, count)) return Fail(EBADMSG, "a return without a grant");
  grants_.Remove(address, count);
  return FreeChunks(address, count, false);
}

Status SnapStoreImpl::ReturnAllGrants() {
  if (Status s = CheckWritable(); !s) return s;
  if (grants_.empty()) return {};
  if (Status s = ApplyReturnAll(); !s) return Poison(std::move(s));
  journal_->Append(disk::kReturnAll, 0, {});
  return {};
}

Status SnapStoreImpl::ApplyReturnAll() {
  for (const auto& [start, end] : grants_.ranges())
    if (Status s = FreeChunks(start, end - start, false); !s) return s;
  grants_.Clear();
  return {};
}

// ---- exceptions

// An address that is not granted is believed only where nothing is done with it: a
// report that was sent again finds its chunk in no more need of a copy.
Status SnapStoreImpl::CheckCopy(Epoch snapshot, uint64_t chunk, uint64_t count, uint64_t address) {
  // A snapshot of a larger origin is larger; who knows how large one was that is gone.
  const Snapshot* snap = snapshot == 0 ? nullptr : FindEpoch(snapshot);
  const uint64_t chunks = snapshot == 0     ? Chunks(super_.origin_bytes)
                          : snap != nullptr ? Chunks(snap->size)
                                            : ~uint64_t{0};
  if (count == 0 || chunk >= chunks || count > chunks - chunk)
    return Fail(EINVAL, "a copy of chunks outside the origin");
  // By the store's size, since of a snapshot that is gone none is known.
  if (count > maps_[1]->units() || address + count < address)
    return Fail(EINVAL, "a copy outside the store");
  if (grants_.Contains(address, count)) return {};
  for (uint64_t i = 0; i < count; ++i) {
    if (grants_.Contains(address + i, 1)) continue;
    auto needed = snapshot == 0 ? NeedsCopy(chunk + i) : NeedsPrivate(snapshot, chunk + i);
    if (!needed) return Pass(needed);
    if (*needed)
      return Fail(EINVAL, "a copy to store chunk " + std::to_string(address + i) +
                              ", which was not granted");
  }
  return {};
}

// The newest of the holders (live snapshots, or bookmarks) after `before` that has this chunk, or
// 0: a snapshot made of a smaller origin ends before it.  Sizes and states are as the journal's
// records have left them, so replay answers the same.
Epoch SnapStoreImpl::NewestWith(const std::vector<Epoch>& holders, uint64_t chunk,
                                Epoch before) const {
  for (auto it = holders.rbegin(); it != holders.rend() && *it > before; ++it)
    if (HasChunk(*it, chunk)) return *it;
  return 0;
}

Result<bool> SnapStoreImpl::NeedsCopy(uint64_t chunk) {
  auto last = LastException(chunk, ~Epoch{0});
  if (!last) return Pass(last);
  const Epoch before = *last ? (*last)->key.minor : 0;
  return NewestWith(live_, chunk, before) != 0 || NewestWith(marks_, chunk, before) != 0;
}

Result<bool> SnapStoreImpl::NeedsPrivate(Epoch snapshot, uint64_t chunk) {
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr || snap->state != Snapshot::State::kOk) return false;
  auto own = trees_[disk::kPrivates]->Get({snapshot, chunk});
  if (!own) return Pass(own);
  return !*own;
}

Status SnapStoreImpl::RecordCopy(uint64_t chunk, uint64_t count, uint64_t address) {
  return RecordOrigin(disk::kCopy, chunk, count, address);
}

Status SnapStoreImpl::RecordUnreadable(uint64_t chunk, uint64_t count, uint64_t address) {
  return RecordOrigin(disk::kUnreadable, chunk, count, address);
}

Status SnapStoreImpl::RecordOrigin(disk::RecordType type, uint64_t chunk, uint64_t count,
                                   uint64_t address) {
  if (Status s = CheckWritable(); !s) return s;
  if (Status s = CheckCopy(0, chunk, count, address); !s) return s;
  batch_has_copies_ = true;
  return Change(type, disk::Copy{uint64_t{0}, chunk, count, address},
                [&] { return ApplyCopy(chunk, count, address, type == disk::kUnreadable); });
}

Status SnapStoreImpl::ApplyCopy(uint64_t chunk, uint64_t count, uint64_t address, bool unreadable) {
  for (uint64_t i = 0; i < count; ++i)
    if (Status s = CopyOne(chunk + i, address + i, unreadable); !s) return s;
  return {};
}

Status SnapStoreImpl::CopyOne(uint64_t chunk, uint64_t address, bool unreadable) {
  if (!grants_.Contains(address, 1)) return {};  // recorded before: see CheckCopy
  grants_.Remove(address, 1);
  auto last = LastException(chunk, ~Epoch{0});
  if (!last) return Pass(last);
  const Epoch before = *last ? (*last)->key.minor : 0;
  // Whoever has that chunk has this content already, or nobody has it.  Bookmarks need to know of
  // the change, and nothing of the content.
  const bool needed = NewestWith(live_, chunk, before) != 0;
  if (!needed && NewestWith(marks_, chunk, before) == 0) return FreeChunks(address, 1, false);
  const uint64_t content = !needed ? kNotKept : unreadable ? kNoAddress : address;
  if (Status s = trees_[disk::kExceptions]->Put({chunk, super_.epoch}, {content}); !s) return s;
  if (Status s = trees_[disk::kLabels]->Put({super_.epoch, chunk}, {}); !s) return s;
  if (!HasAddress(content))
    if (Status s = FreeChunks(address, 1, false); !s) return s;
  if (!needed) return {};
  const Epoch lo = *std::upper_bound(live_.begin(), live_.end(), before);
  return AddSharing(lo, live_.back(), 1);
}

Status SnapStoreImpl::AddSharing(Epoch lo, Epoch hi, uint64_t count) {
  BTree& sharing = *trees_[disk::kSharing];
  auto old = sharing.Get({lo, hi});
  if (!old) return Pass(old);
  return sharing.Put({lo, hi}, {(*old ? (**old)[0] : 0) + count});
}

Status SnapStoreImpl::RecordPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                    uint64_t address) {
  if (Status s = CheckWritable(); !s) return s;
  if (snapshot == 0 || snapshot > super_.epoch)
    return Fail(EINVAL, "a private chunk of no snapshot");
  if (Status s = CheckCopy(snapshot, chunk, count, address); !s) return s;
  batch_has_copies_ = true;
  return Change(disk::kPrivate, disk::Copy{snapshot, chunk, count, address},
                [&] { return ApplyPrivate(snapshot, chunk, count, address); });
}

Status SnapStoreImpl::ApplyPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                   uint64_t address) {
  Snapshot* snap = Mutable(snapshot);
  const bool wanted = snap != nullptr && snap->state == Snapshot::State::kOk;
  uint64_t added = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (!grants_.Contains(address + i, 1)) continue;
    grants_.Remove(address + i, 1);
    auto own = trees_[disk::kPrivates]->Get({snapshot, chunk + i});
    if (!own) return Pass(own);
    if (!wanted || *own) {
      if (Status s = FreeChunks(address + i, 1, false); !s) return s;
      continue;
    }
    if (Status s = trees_[disk::kPrivates]->Put({snapshot, chunk + i}, {address + i}); !s) return s;
    ++added;
  }
  if (added == 0) return {};
  extra_[snapshot].privates += added;
  return PutSnapshot(snapshot);
}

// ---- snapshots

Status SnapStoreImpl::PutSnapshot(Epoch epoch) {
  const Snapshot* snap = FindEpoch(epoch);
  disk::SnapshotRecord record;
  std::memset(static_cast<void*>(&record), 0, sizeof(record));
  record.tag = snap->tag;
  record.priority = static_cast<uint8_t>(snap->priority);
  record.state = static_cast<uint8_t>(snap->state);
  record.reclaimed = extra_[epoch].reclaimed ? 1 : 0;
  record.usecount = uint64_t{snap->usecount};
  record.created_ns = static_cast<uint64_t>(snap->created_ns);
  record.size = snap->size;
  record.privates = extra_[epoch].privates;
  std::array<Le64, disk::kValueWords[disk::kSnapshots]> words;
  std::memcpy(static_cast<void*>(words.data()), &record, sizeof(record));
  Value value{};
  for (size_t i = 0; i < words.size(); ++i) value[i] = words[i];
  return trees_[disk::kSnapshots]->Put({epoch, 0}, value);
}

Result<Epoch> SnapStoreImpl::Create(Tag tag, int64_t now_ns) {
  if (Status s = CheckWritable(); !s) return Pass(s);
  if (tag > kMaxTag) return Fail(EINVAL, "snapshot " + std::to_string(tag) + ": no valid tag");
  if (Find(tag) != nullptr)
    return Fail(EEXIST, "snapshot " + std::to_string(tag) + ": exists already");
  if (super_.reverting != 0)
    return Fail(EBUSY, "the origin is being reverted: it holds no state to keep");
  disk::Create create{super_.epoch + 1, static_cast<uint64_t>(now_ns), super_.origin_bytes, tag,
                      uint32_t{0}};
  if (Status s = Change(disk::kCreate, create, [&] { return ApplyCreate(create); }); !s)
    return Pass(s);
  return super_.epoch;
}

Status SnapStoreImpl::ApplyCreate(const disk::Create& create) {
  if (create.epoch != super_.epoch + 1) return Fail(EBADMSG, "a snapshot out of order");
  super_.epoch = create.epoch;
  Snapshot snap;
  snap.epoch = create.epoch;
  snap.tag = create.tag;
  snap.created_ns = static_cast<int64_t>(uint64_t{create.created_ns});
  snap.size = create.size;
  snapshots_.push_back(snap);
  extra_[snap.epoch] = {};
  live_.push_back(snap.epoch);
  return PutSnapshot(snap.epoch);
}

Status SnapStoreImpl::Delete(Epoch snapshot) {
  if (Status s = CheckWritable(); !s) return s;
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr || snap->state == Snapshot::State::kDeleting)
    return Fail(ENOENT, Name(snapshot) + ": does not exist");
  if (snapshot == super_.reverting)
    return Fail(EBUSY, Name(snapshot) + ": the origin is being reverted to it");
  return Change(disk::kDelete, disk::Number{snapshot, uint64_t{0}},
                [&] { return ApplyState(snapshot, Snapshot::State::kDeleting); });
}

Status SnapStoreImpl::Bookmark(Epoch snapshot) {
  if (Status s = CheckWritable(); !s) return s;
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr || snap->state == Snapshot::State::kDeleting)
    return Fail(ENOENT, Name(snapshot) + ": does not exist");
  if (snap->state == Snapshot::State::kBookmark)
    return Fail(EALREADY, Name(snapshot) + ": is a bookmark already");
  if (snap->state != Snapshot::State::kOk) return Fail(ESTALE, Name(snapshot) + ": was given up");
  if (snapshot == super_.reverting)
    return Fail(EBUSY, Name(snapshot) + ": the origin is being reverted to it");
  if (Status s = RaiseVersion(); !s) return s;
  return Change(disk::kBookmark, disk::Number{snapshot, uint64_t{0}},
                [&] { return ApplyState(snapshot, Snapshot::State::kBookmark); });
}

Status SnapStoreImpl::GiveUp(Epoch snapshot) {
  if (Status s = CheckWritable(); !s) return s;
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr || !snap->is_base())
    return Fail(ENOENT, Name(snapshot) + ": does not exist or is given up already");
  return Change(disk::kGiveUp, disk::Number{snapshot, uint64_t{0}},
                [&] { return ApplyState(snapshot, Snapshot::State::kGivenUp); });
}

Status SnapStoreImpl::ApplyState(Epoch snapshot, Snapshot::State state) {
  Snapshot* snap = Mutable(snapshot);
  if (snap == nullptr) return Fail(EBADMSG, Name(snapshot) + ": is not there");
  if (Rank(snap->state) >= Rank(state)) return Fail(EBADMSG, Name(snapshot) + ": is gone already");
  if (snap->state == Snapshot::State::kOk)
    if (Status s = Unlive(snapshot); !s) return s;
  if (snap->state == Snapshot::State::kBookmark) std::erase(marks_, snapshot);
  if (state == Snapshot::State::kBookmark)
    marks_.insert(std::lower_bound(marks_.begin(), marks_.end(), snapshot), snapshot);
  snap->state = state;
  if (state == Snapshot::State::kGivenUp) dying_.insert(snapshot);
  if (state == Snapshot::State::kDeleting) dying_.erase(snapshot);
  // Of a bookmark that was stripped more can be freed now.
  if (state == Snapshot::State::kGivenUp) extra_[snapshot].reclaimed = false;
  if (reclaim_ && reclaim_->epoch == snapshot) reclaim_.reset();
  return PutSnapshot(snapshot);
}

// Takes S out of the live ones.  An exception is counted under the first and the
// last live snapshot that it serves: where S was the first the next one is now, where
// it was the last the one before is; where it was the only one nobody counts it
// any more, and reclaiming will find it.
Status SnapStoreImpl::Unlive(Epoch snapshot) {
  const auto at = std::lower_bound(live_.begin(), live_.end(), snapshot);
  if (at == live_.end() || *at != snapshot) return Fail(EBADMSG, Name(snapshot) + ": is not live");
  const Epoch next = std::next(at) == live_.end() ? 0 : *std::next(at);
  const Epoch before = at == live_.begin() ? 0 : *std::prev(at);
  BTree& sharing = *trees_[disk::kSharing];
  std::vector<Entry> moved;
  Status s = sharing.Scan({snapshot, 0}, [&](const Entry& entry) {
    if (entry.key.major != snapshot) return false;
    moved.push_back(entry);
    return true;
  });
  if (!s) return s;
  for (const Epoch lo : live_) {
    if (lo >= snapshot) break;
    auto cell = sharing.Get({lo, snapshot});
    if (!cell) return Pass(cell);
    if (*cell) moved.push_back({{lo, snapshot}, **cell});
  }
  for (const Entry& entry : moved) {
    if (auto gone = sharing.Erase(entry.key); !gone) return Pass(gone);
    const auto [lo, hi] = entry.key;
    if (lo == snapshot && hi == snapshot) continue;
    if (s = AddSharing(lo == snapshot ? next : lo, hi == snapshot ? before : hi, entry.value[0]);
        !s)
      return s;
  }
  live_.erase(std::lower_bound(live_.begin(), live_.end(), snapshot));
  return {};
}

Status SnapStoreImpl::SetPriority(Epoch snapshot, int8_t priority) {
  if (Status s = CheckWritable(); !s) return s;
  Snapshot* snap = Mutable(snapshot);
  if (snap == nullptr) return Fail(ENOENT, Name(snapshot) + ": does not exist");
  return Change(disk::kPriority, disk::Number{snapshot, static_cast<uint64_t>(int64_t{priority})},
                [&] {
                  snap->priority = priority;
                  return PutSnapshot(snapshot);
                });
}

Result<uint32_t> SnapStoreImpl::AddUsecount(Epoch snapshot, int32_t diff) {
  if (Status s = CheckWritable(); !s) return Pass(s);
  Snapshot* snap = Mutable(snapshot);
  if (snap == nullptr) return Fail(ENOENT, Name(snapshot) + ": does not exist");
  const int64_t sum = int64_t{snap->usecount} + diff;
  if (sum < 0) return Fail(ERANGE, "use count: would become negative");
  if (sum > int64_t{kMaxUsecount}) return Fail(EOVERFLOW, "use count: would exceed 65535");
  if (diff != 0) {
    Status s = Change(disk::kUsecount, disk::Number{snapshot, static_cast<uint64_t>(sum)}, [&] {
      snap->usecount = static_cast<uint32_t>(sum);
      return PutSnapshot(snapshot);
    });
    if (!s) return Pass(s);
  }
  return snap->usecount;
}

Status SnapStoreImpl::SetAttached(bool attached) {
  if (Status s = CheckWritable(); !s) return s;
  if (attached == super_.attached) return {};
  return Change(disk::kAttached, disk::Number{uint64_t{attached ? 1u : 0u}, uint64_t{0}}, [&] {
    super_.attached = attached;
    return Status{};
  });
}

Status SnapStoreImpl::SetReverting(Epoch snapshot) {
  if (Status s = CheckWritable(); !s) return s;
  if (snapshot == super_.reverting) return {};
  if (snapshot != 0) {
    const Snapshot* snap = FindEpoch(snapshot);
    if (snap == nullptr) return Fail(ENOENT, Name(snapshot) + ": does not exist");
    if (snap->state != Snapshot::State::kOk)
      return Fail(ESTALE, Name(snapshot) + (snap->is_base() ? ": is a bookmark, without contents"
                                                            : ": was given up"));
  }
  if (Status s = RaiseVersion(); !s) return s;
  return Change(disk::kRevert, disk::Number{snapshot, uint64_t{0}}, [&] {
    super_.reverting = snapshot;
    return Status{};
  });
}

// A program that knows earlier versions only must not come to read a record of a later one: it
// refuses a store of which both superblocks say more.
Status SnapStoreImpl::RaiseVersion() {
  while (old_copy_[0] || old_copy_[1])
    if (Status s = Checkpoint(); !s) return s;
  return {};
}

Status SnapStoreImpl::SetOriginSize(uint64_t bytes) {
  if (Status s = CheckWritable(); !s) return s;
  if (bytes == 0 || bytes % 512 != 0) return Fail(EINVAL, "origin: impossible size");
  if (bytes == super_.origin_bytes) return {};
  if (bytes < super_.origin_bytes) {
    const Snapshot* goal = FindEpoch(super_.reverting);
    if (goal != nullptr && bytes < goal->size)
      return Fail(EBUSY, "origin: is being reverted to a snapshot that is larger than that");
    if (Status s = CheckTail(bytes); !s) return s;
  }
  return Change(disk::kOriginSize, disk::Number{bytes, uint64_t{0}},
                [&] { return ApplyOriginSize(bytes); });
}

// What is cut off changes unseen.  A bookmark does not ask for it to be copied first, as snapshots
// do: it ends there from now on, and what lies past the end of a base counts as changed.
Status SnapStoreImpl::ApplyOriginSize(uint64_t bytes) {
  if (std::exchange(super_.origin_bytes, bytes) <= bytes) return {};
  for (const Epoch mark : marks_) {
    Snapshot* snap = Mutable(mark);
    if (snap->size <= bytes) continue;
    snap->size = bytes;
    if (Status s = PutSnapshot(mark); !s) return s;
  }
  return {};
}

}  // namespace ddsnap
