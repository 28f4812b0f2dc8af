// SPDX-License-Identifier: GPL-2.0
#include "lib/memory_store.h"

#include <algorithm>
#include <cerrno>
#include <thread>
#include <tuple>
#include <utility>

namespace ddsnap::test {

using State = Snapshot::State;

constexpr uint64_t kNoAddress = UINT64_MAX;
constexpr uint64_t kNotKept = UINT64_MAX - 1;

MemoryStore::MemoryStore(uint64_t origin_chunks, uint64_t store_chunks)
    : origin_chunks_(origin_chunks), total_(store_chunks) {
  for (uint64_t address = 1; address <= store_chunks; ++address) free_.insert(address);
}

uint64_t MemoryStore::TEST_exception(uint64_t chunk, Epoch label) const {
  const auto at = exceptions_.find(chunk);
  if (at == exceptions_.end()) return 0;
  const auto exception = at->second.find(label);
  return exception == at->second.end() ? 0 : exception->second;
}

uint64_t MemoryStore::live() const {
  return static_cast<uint64_t>(
      std::count_if(snapshots_.begin(), snapshots_.end(), [](auto& s) { return s.is_base(); }));
}

uint64_t MemoryStore::marks() const {
  return static_cast<uint64_t>(std::count_if(snapshots_.begin(), snapshots_.end(),
                                             [](auto& s) { return s.state == State::kBookmark; }));
}

const Snapshot* MemoryStore::Find(Tag tag) const {
  for (const Snapshot& s : snapshots_) {
    if (s.tag == tag && s.state != State::kDeleting) return &s;
  }
  return nullptr;
}

const Snapshot* MemoryStore::FindEpoch(Epoch epoch) const {
  for (const Snapshot& s : snapshots_) {
    if (s.epoch == epoch) return &s;
  }
  return nullptr;
}

Snapshot* MemoryStore::At(Epoch epoch) { return const_cast<Snapshot*>(FindEpoch(epoch)); }

Status MemoryStore::Stage() {
  if (failed_) return std::unexpected(*failed_);
  dirty_ = true;
  return {};
}

// Does the store keep anything that this snapshot reads?
bool MemoryStore::Holds(const Snapshot& snapshot) const {
  for (const auto& [chunk, labels] : exceptions_) {
    if (labels.lower_bound(snapshot.epoch) != labels.end()) return true;
  }
  return std::any_of(private_.begin(), private_.end(),
                     [&](const auto& p) { return p.first.first == snapshot.epoch; });
}

Result<SnapshotSpace> MemoryStore::SpaceOf(Epoch snapshot) {
  SnapshotSpace space;
  for (const auto& [chunk, labels] : exceptions_) {
    if (labels.lower_bound(snapshot) != labels.end()) ++space.chunks;
  }
  return space;
}

Result<std::vector<Range>> MemoryStore::Grant(uint64_t chunks) {
  if (failed_) return std::unexpected(*failed_);
  if (free_.empty()) return FailErrno(pinned_.empty() ? ENOSPC : EAGAIN, "store");
  std::vector<Range> ranges;
  while (chunks-- > 0 && !free_.empty()) {
    const uint64_t address = *free_.begin();
    free_.erase(free_.begin());
    granted_.insert(address);
    if (!ranges.empty() && ranges.back().address + ranges.back().count == address) {
      ++ranges.back().count;
    } else {
      ranges.push_back({address, 1});
    }
  }
  dirty_ = true;
  return ranges;
}

Status MemoryStore::Return(const Range& range) {
  if (Status s = Stage(); !s) return s;
  for (uint64_t i = 0; i < range.count; ++i) {
    if (granted_.erase(range.address + i) == 0) return Fail(EINVAL, "not granted");
    free_.insert(range.address + i);
  }
  return {};
}

Status MemoryStore::ReturnAllGrants() {
  if (Status s = Stage(); !s) return s;
  free_.merge(granted_);
  granted_.clear();
  return {};
}

Status MemoryStore::RecordCopy(uint64_t chunk, uint64_t count, uint64_t address) {
  if (failed_) return std::unexpected(*failed_);
  for (uint64_t i = 0; i < count; ++i) {
    auto& labels = exceptions_[chunk + i];
    if (labels.contains(epoch_) && !granted_.contains(address + i)) continue;
    if (granted_.erase(address + i) == 0) return Fail(EINVAL, "address is not granted");
    dirty_ = true;
    const Epoch last = labels.empty() ? 0 : labels.rbegin()->first;
    if (Any(State::kOk, last, epoch_)) {
      labels[epoch_] = address + i;
      continue;
    }
    free_.insert(address + i);
    if (Any(State::kBookmark, last, epoch_)) labels[epoch_] = kNotKept;
  }
  return {};
}

Status MemoryStore::RecordUnreadable(uint64_t chunk, uint64_t count, uint64_t address) {
  for (uint64_t i = 0; i < count; ++i) {
    if (Status s = Return({address + i, 1}); !s) return s;
    exceptions_[chunk + i].emplace(epoch_, kNoAddress);
  }
  return {};
}

Status MemoryStore::RecordPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                  uint64_t address) {
  if (failed_) return std::unexpected(*failed_);
  for (uint64_t i = 0; i < count; ++i) {
    if (granted_.erase(address + i) == 0) return Fail(EINVAL, "address is not granted");
    private_[{snapshot, chunk + i}] = address + i;
  }
  return Stage();
}

Result<std::vector<Run>> MemoryStore::Lookup(Epoch snapshot, uint64_t chunk, uint64_t count,
                                             size_t) {
  const Snapshot* s = FindEpoch(snapshot);
  if (s == nullptr) return FailErrno(ENOENT, "snapshot");
  if (s->state != State::kOk) return FailErrno(ESTALE, "snapshot");
  Run run{.chunk = chunk, .count = std::min<uint64_t>(count, 1)};
  if (const auto mine = private_.find({snapshot, chunk}); mine != private_.end()) {
    run.kind = Run::Kind::kPrivate;
    run.address = mine->second;
    return std::vector{run};
  }
  const auto labels = exceptions_.find(chunk);
  if (labels == exceptions_.end()) return std::vector{run};
  const auto exception = labels->second.lower_bound(snapshot);
  if (exception == labels->second.end()) return std::vector{run};
  const bool lost = exception->second == kNoAddress;
  run.kind = lost ? Run::Kind::kUnreadable : Run::Kind::kShared;
  run.address = lost ? 0 : exception->second;
  return std::vector{run};
}

Result<Epoch> MemoryStore::Create(Tag tag, int64_t now_ns) {
  if (Find(tag) != nullptr) return FailErrno(EEXIST, "snapshot");
  if (reverting_ != 0) return FailErrno(EBUSY, "snapshot");
  if (Status s = Stage(); !s) return Pass(s);
  snapshots_.push_back(
      {.epoch = ++epoch_, .tag = tag, .created_ns = now_ns, .size = origin_size()});
  return epoch_;
}

Status MemoryStore::Delete(Epoch snapshot) {
  At(snapshot)->state = State::kDeleting;
  return Stage();
}

Status MemoryStore::Bookmark(Epoch snapshot) {
  if (At(snapshot)->state != State::kOk) return FailErrno(EALREADY, "snapshot");
  At(snapshot)->state = State::kBookmark;
  return Stage();
}

// Whether a snapshot in that state has an epoch above `after`, up to `through`.
bool MemoryStore::Any(State state, Epoch after, Epoch through) const {
  return std::any_of(snapshots_.begin(), snapshots_.end(), [&](const Snapshot& s) {
    return s.state == state && s.epoch > after && s.epoch <= through;
  });
}

Status MemoryStore::GiveUp(Epoch snapshot) {
  At(snapshot)->state = State::kGivenUp;
  return Stage();
}

std::optional<Epoch> MemoryStore::VictimForSpace(const std::function<bool(Epoch)>& in_use) const {
  const Snapshot* victim = nullptr;
  const auto rank = [&](const Snapshot& s) {
    return std::tuple(s.priority, s.usecount != 0 || in_use(s.epoch), s.epoch);
  };
  for (const Snapshot& s : snapshots_) {
    if (s.state == State::kBookmark && live() == marks()) return s.epoch;
    if (s.state != State::kOk || s.priority == 127 || !Holds(s) || s.epoch == reverting_) continue;
    if (victim == nullptr || rank(s) < rank(*victim)) victim = &s;
  }
  if (victim == nullptr) return std::nullopt;
  return victim->epoch;
}

Status MemoryStore::SetPriority(Epoch snapshot, int8_t priority) {
  At(snapshot)->priority = priority;
  return Stage();
}

Result<uint32_t> MemoryStore::AddUsecount(Epoch snapshot, int32_t diff) {
  const int64_t sum = static_cast<int64_t>(At(snapshot)->usecount) + diff;
  if (sum < 0 || sum > 65535) return FailErrno(ERANGE, "use count");
  if (Status s = Stage(); !s) return Pass(s);
  return At(snapshot)->usecount = static_cast<uint32_t>(sum);
}

Status MemoryStore::SetAttached(bool attached) {
  attached_ = attached;
  return Stage();
}

Status MemoryStore::SetReverting(Epoch snapshot) {
  reverting_ = snapshot;
  return Stage();
}

Status MemoryStore::SetOriginSize(uint64_t bytes) {
  origin_chunks_ = bytes / 4096;
  return Stage();
}

Status MemoryStore::Resize(uint64_t store_bytes, uint64_t) {
  for (uint64_t i = total_; i < store_bytes / 512; ++i) free_.insert(i);
  total_ = std::max(total_, store_bytes / 512);
  return Commit(false);
}

Status MemoryStore::Changelist(Epoch from, Epoch to,
                               const std::function<bool(const ChunkRange&)>& sink) {
  for (const auto& [chunk, labels] : exceptions_) {
    const auto first = labels.lower_bound(from);
    const bool changed = first != labels.end() && (to == 0 || first->first < to);
    if (changed && !sink({chunk, 1})) break;
  }
  return {};
}

Status MemoryStore::Commit(bool flush_copies) {
  if (fail_commits_) failed_ = Error{EIO, "journal: Input/output error"};
  if (failed_) return std::unexpected(*failed_);
  std::this_thread::sleep_for(slow_);
  ++commits_;
  last_flush_ = flush_copies;
  dirty_ = false;
  return {};
}

// Forgets one snapshot that is to go, and frees what nobody reads then.
Result<bool> MemoryStore::Step() {
  if (failed_) return std::unexpected(*failed_);
  free_.merge(pinned_);
  const auto doomed = [this](const Snapshot& s) {
    return s.state == State::kDeleting ||
           (s.state == State::kBookmark && !freed_.contains(s.epoch)) ||
           (s.state == State::kGivenUp && released_.contains(s.epoch) && !freed_.contains(s.epoch));
  };
  const auto it = std::find_if(snapshots_.begin(), snapshots_.end(), doomed);
  if (it == snapshots_.end()) return false;
  const Epoch gone = it->epoch;
  if (it->state == State::kDeleting) snapshots_.erase(it);
  freed_.insert(gone);
  dirty_ = true;
  std::erase_if(private_, [&](const auto& p) {
    if (p.first.first == gone) free_.insert(p.second);
    return p.first.first == gone;
  });
  for (auto& [chunk, labels] : exceptions_) {
    Epoch before = 0;
    for (auto at = labels.begin(); at != labels.end();) {
      const Epoch low = std::exchange(before, at->first);
      const bool read = std::any_of(snapshots_.begin(), snapshots_.end(), [&](const Snapshot& s) {
        const bool reads = s.state == State::kOk || !freed_.contains(s.epoch);
        return reads && s.epoch > low && s.epoch <= at->first;
      });
      const bool marked = Any(State::kBookmark, low, at->first);
      if (!read && at->second < kNotKept) free_.insert(at->second);
      if (!read && marked) at->second = kNotKept;
      at = read || marked ? std::next(at) : labels.erase(at);
    }
  }
  return std::any_of(snapshots_.begin(), snapshots_.end(), doomed);
}

}  // namespace ddsnap::test
