// SPDX-License-Identifier: GPL-2.0
// What the store answers without changing anything.
#include <algorithm>
#include <cerrno>
#include <string>
#include <tuple>

#include "store/snapstore_impl.h"

namespace ddsnap {

const Snapshot* SnapStoreImpl::Find(Tag tag) const {
  for (auto it = snapshots_.rbegin(); it != snapshots_.rend(); ++it)
    if (it->tag == tag && it->state != Snapshot::State::kDeleting) return &*it;
  return nullptr;
}

const Snapshot* SnapStoreImpl::FindEpoch(Epoch epoch) const {
  const auto it =
      std::lower_bound(snapshots_.begin(), snapshots_.end(), epoch,
                       [](const Snapshot& snap, Epoch wanted) { return snap.epoch < wanted; });
  return it != snapshots_.end() && it->epoch == epoch ? &*it : nullptr;
}

bool SnapStoreImpl::AnyIn(const std::vector<Epoch>& holders, Epoch after, Epoch through) {
  const auto it = std::upper_bound(holders.begin(), holders.end(), after);
  return it != holders.end() && *it <= through;
}

Result<std::optional<Entry>> SnapStoreImpl::LastException(uint64_t chunk, Epoch label) {
  auto entry = trees_[disk::kExceptions]->Floor({chunk, label});
  if (!entry) return Pass(entry);
  if (*entry && (*entry)->key.major != chunk) return std::nullopt;
  return entry;
}

// ---- space

uint64_t SnapStoreImpl::GrantableChunks() const {
  return MetadataIsShort() ? 0 : maps_[1]->available();
}

StoreSpace SnapStoreImpl::space() const {
  StoreSpace space;
  space.total_chunks = maps_[1]->units();
  space.free_chunks = maps_[1]->free_units();
  space.metadata_bytes = tx_->in_use() * disk::kBlock;
  space.metadata_free_bytes = maps_[0]->free_units() * disk::kBlock;
  return space;
}

// One pass over the sharing counts gives all snapshots: an exception counted
// under (lo, hi) serves every live snapshot from lo to hi.
Status SnapStoreImpl::ComputeSpace() const {
  if (space_known_) return {};
  space_.clear();
  std::map<Epoch, uint64_t> begins;
  std::map<Epoch, uint64_t> ends;
  Status s = trees_[disk::kSharing]->Scan({}, [&](const Entry& entry) {
    const auto [lo, hi] = entry.key;
    begins[lo] += entry.value[0];
    ends[hi] += entry.value[0];
    if (lo == hi) space_[lo].unshared += entry.value[0];
    return true;
  });
  if (!s) return s;
  uint64_t open = 0;
  for (const Epoch epoch : live_) {
    open += begins[epoch];
    SnapshotSpace& space = space_[epoch];
    const uint64_t privates = extra_.at(epoch).privates;
    space.chunks = open + privates;
    space.unshared += privates;
    open -= ends[epoch];
  }
  space_known_ = true;
  return {};
}

Result<SnapshotSpace> SnapStoreImpl::SpaceOf(Epoch snapshot) {
  if (FindEpoch(snapshot) == nullptr) return Fail(ENOENT, "no such snapshot");
  if (Status s = ComputeSpace(); !s) return Pass(s);
  const auto it = space_.find(snapshot);
  return it == space_.end() ? SnapshotSpace{} : it->second;
}

std::optional<Epoch> SnapStoreImpl::VictimForSpace(const std::function<bool(Epoch)>& in_use) const {
  if (!marks_.empty() && (MetadataIsShort() || live_.empty())) {
    const auto rank = [this](Epoch mark) { return std::pair(FindEpoch(mark)->priority, mark); };
    return *std::ranges::min_element(marks_, {}, rank);
  }
  if (!ComputeSpace()) return std::nullopt;
  using Rank = std::tuple<int, bool, Epoch>;  // the smallest goes first
  std::optional<Rank> victim;
  for (const Snapshot& snap : snapshots_) {
    if (snap.state != Snapshot::State::kOk || snap.priority == 127) continue;
    if (snap.epoch == super_.reverting) continue;  // what the origin is to be is only there
    const auto space = space_.find(snap.epoch);
    if (space == space_.end() || space->second.chunks == 0) continue;
    const Rank rank{snap.priority, snap.usecount > 0 || in_use(snap.epoch), snap.epoch};
    if (!victim || rank < *victim) victim = rank;
  }
  if (!victim) return std::nullopt;
  return std::get<Epoch>(*victim);
}

// ---- where chunks are

Result<std::vector<Run>> SnapStoreImpl::Lookup(Epoch snapshot, uint64_t chunk, uint64_t count,
                                               size_t max_runs) {
  const Snapshot* snap = FindEpoch(snapshot);
  if (snap == nullptr) return Fail(ENOENT, "no such snapshot");
  if (snap->state != Snapshot::State::kOk) return Fail(ESTALE, "the snapshot was given up");
  const uint64_t chunks = Chunks(snap->size);
  if (count == 0 || chunk >= chunks) return Fail(EINVAL, "chunks outside the snapshot");
  const uint64_t end = chunk + std::min(count, chunks - chunk);

  std::vector<Run> runs;
  // Appends a run, or lengthens the last; false when there is no room.
  const auto add = [&](uint64_t at, uint64_t n, Run::Kind kind, uint64_t address) {
    if (!runs.empty()) {
      Run& last = runs.back();
      const bool placed = kind == Run::Kind::kShared || kind == Run::Kind::kPrivate;
      if (last.kind == kind && (!placed || last.address + last.count == address)) {
        last.count += n;
        return true;
      }
    }
    if (runs.size() == std::max<size_t>(max_runs, 1)) return false;
    runs.push_back({at, n, kind, address});
    return true;
  };

  Key own_from{snapshot, chunk};
  std::optional<Entry> own;        // the next private chunk
  std::optional<Entry> exception;  // the next exception that serves the snapshot
  bool own_known = false;
  for (uint64_t at = chunk; at < end;) {
    if (!own_known || (own && own->key.minor < at)) {
      own_from.minor = at;
      auto next = trees_[disk::kPrivates]->Ceil(own_from);
      if (!next) return Pass(next);
      own = *next && (*next)->key.major == snapshot ? *next : std::nullopt;
      own_known = true;
    }
    if (own && own->key.minor == at) {
      if (!add(at, 1, Run::Kind::kPrivate, own->value[0])) break;
      ++at;
      continue;
    }
    const uint64_t limit = own ? std::min(end, own->key.minor) : end;
    if (!exception || exception->key.major < at) {
      auto next = trees_[disk::kExceptions]->Ceil({at, snapshot});
      // An exception of a later chunk may be too old: look for one that serves.
      while (next && *next && (*next)->key.minor < snapshot && (*next)->key.major < end)
        next = trees_[disk::kExceptions]->Ceil({(*next)->key.major, snapshot});
      if (!next) return Pass(next);
      exception = *next ? *next : Entry{{~uint64_t{0}, 0}, {}};
    }
    const uint64_t stop = std::min(limit, exception->key.major);
    if (stop > at) {
      if (!add(at, stop - at, Run::Kind::kOrigin, 0)) break;
      at = stop;
      continue;
    }
    // Without an address it should serve bookmarks alone: of a damaged store no content is made up.
    const bool lost = !HasAddress(exception->value[0]);
    if (!add(at, 1, lost ? Run::Kind::kUnreadable : Run::Kind::kShared,
             lost ? 0 : exception->value[0]))
      break;
    ++at;
  }
  return runs;
}

// ---- changelists

Status SnapStoreImpl::Changelist(Epoch from, Epoch to,
                                 const std::function<bool(const ChunkRange&)>& sink) {
  for (const Epoch epoch : {from, to}) {
    const Snapshot* snap = FindEpoch(epoch);
    if (epoch == 0 && epoch == to && from != 0) continue;
    if (snap == nullptr) return Fail(ENOENT, "no such snapshot");
    if (!snap->is_base()) return Fail(ESTALE, "the snapshot was given up");
  }
  const Epoch lo = to == 0 ? from : std::min(from, to);
  const Epoch hi = to == 0 ? ~Epoch{0} : std::max(from, to);
  std::vector<uint64_t> chunks;
  Status s = trees_[disk::kLabels]->Scan({lo, 0}, [&](const Entry& entry) {
    if (entry.key.major >= hi) return false;
    chunks.push_back(entry.key.minor);
    return true;
  });
  if (!s) return s;
  for (const Epoch epoch : {from, to}) {
    if (epoch == 0 || from == to) continue;
    s = trees_[disk::kPrivates]->Scan({epoch, 0}, [&](const Entry& entry) {
      if (entry.key.major != epoch) return false;
      chunks.push_back(entry.key.minor);
      return true;
    });
    if (!s) return s;
  }
  std::sort(chunks.begin(), chunks.end());
  for (size_t i = 0; i < chunks.size();) {
    ChunkRange range{chunks[i], 1};
    for (++i; i < chunks.size() && chunks[i] <= range.chunk + range.count; ++i)
      range.count = chunks[i] - range.chunk + 1;
    if (!sink(range)) return {};
  }
  return {};
}

}  // namespace ddsnap
