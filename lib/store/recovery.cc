// SPDX-License-Identifier: GPL-2.0
// From what is on the disk to a store in memory.
//
// The trees and maps of the newest superblock are one consistent state; the journal
// behind it is applied through the same functions that staged it.  Tree blocks
// and chunks come from areas of their own, so the blocks that replay allocates, which need
// not be those of the first time, never land on a chunk's contents.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

// The payload as an array of T; false if its length does not fit.
template <typename T>
bool As(std::span<const std::byte> payload, std::vector<T>* out) {
  if (payload.empty() || payload.size() % sizeof(T) != 0) return false;
  out->resize(payload.size() / sizeof(T));
  std::memcpy(static_cast<void*>(out->data()), payload.data(), payload.size());
  return true;
}

template <typename T>
bool As(std::span<const std::byte> payload, T* out) {
  if (payload.size() != sizeof(T)) return false;
  std::memcpy(static_cast<void*>(out), payload.data(), sizeof(T));
  return true;
}

std::unexpected<Error> BadRecord(uint16_t type) {
  return Fail(EBADMSG, "a record of type " + std::to_string(type) + " with impossible contents");
}

}  // namespace

SnapStoreImpl::SnapStoreImpl(BlockDevice& store, BlockDevice* meta, const OpenOptions& options)
    : store_(store), meta_(meta != nullptr ? *meta : store), options_(options) {}

Status SnapStoreImpl::Recover() {
  // A server that was killed may have written without flushing.  What is read
  // here will be told and built upon, so it must be durable first.
  if (!options_.read_only)
    if (Status s = meta_.Flush(); !s) return s;
  auto found = ReadSuperblock(meta_);
  if (!found) return Pass(found);
  super_ = std::move(found->super);
  copy_ = found->copy;
  other_super_ = found->other;
  old_copy_ = found->old;
  if (super_.separate != (&meta_ != &store_))
    return Fail(EINVAL, meta_.name() + (super_.separate ? ": needs its store device as well"
                                                        : ": is not a metadata device"));
  if (store_.size() < super_.store_bytes || meta_.size() < super_.meta_bytes)
    return Fail(EINVAL, store_.name() + ": smaller than when the store was written");
  const size_t cache_blocks = std::max<uint64_t>(options_.cache_bytes / disk::kBlock, 256);
  cache_ = std::make_unique<BlockCache>(meta_, super_.uuid, cache_blocks, !options_.read_only);
  for (const MapLayout& layout : super_.maps) {
    auto map = SpaceMap::Load(meta_, super_.uuid, layout, copy_, super_.generation, cache_blocks);
    if (!map) return Pass(map);
    maps_.push_back(std::move(*map));
  }
  tx_ = std::make_unique<Transaction>(*cache_, *maps_[0], super_.generation + 1);
  tx_->set_in_use(super_.tree_blocks);
  made_limit_ = MadeLimit(maps_[0]->units());
  for (uint32_t i = 0; i < disk::kTrees; ++i)
    trees_[i] = std::make_unique<BTree>(*tx_, static_cast<disk::TreeId>(i), super_.roots[i]);
  if (Status s = LoadTables(); !s) return s;
  if (Status s = ReplayJournal(); !s) return s;
  return NewBoot();
}

uint64_t SnapStoreImpl::MadeLimit(uint64_t blocks) const {
  return std::clamp<uint64_t>((blocks - super_.journal_blocks) / 8, 24, 4096);
}

Status SnapStoreImpl::LoadTables() {
  Status bad;
  Status s = trees_[disk::kSnapshots]->Scan({}, [&](const Entry& entry) {
    disk::SnapshotRecord record;
    std::array<Le64, disk::kValueWords[disk::kSnapshots]> words;
    for (size_t i = 0; i < words.size(); ++i) words[i] = entry.value[i];
    std::memcpy(static_cast<void*>(&record), words.data(), sizeof(record));
    Snapshot snap;
    snap.epoch = entry.key.major;
    snap.tag = record.tag;
    snap.priority = static_cast<int8_t>(record.priority);
    snap.usecount = static_cast<uint32_t>(uint64_t{record.usecount});
    snap.created_ns = static_cast<int64_t>(uint64_t{record.created_ns});
    snap.size = record.size;
    if (record.state > static_cast<uint8_t>(Snapshot::State::kBookmark) || snap.epoch == 0 ||
        snap.epoch > super_.epoch || entry.key.minor != 0) {
      bad = Fail(EBADMSG, meta_.name() + ": snapshot table: impossible entry for epoch " +
                              std::to_string(snap.epoch));
      return false;
    }
    snap.state = static_cast<Snapshot::State>(record.state);
    snapshots_.push_back(snap);
    extra_[snap.epoch] = {record.privates, record.reclaimed != 0};
    if (snap.state == Snapshot::State::kOk) live_.push_back(snap.epoch);
    if (snap.state == Snapshot::State::kBookmark) marks_.push_back(snap.epoch);
    if (snap.state == Snapshot::State::kGivenUp && record.reclaimed == 0) dying_.insert(snap.epoch);
    return true;
  });
  return s ? bad : s;
}

Status SnapStoreImpl::ReplayJournal() {
  journal_ =
      std::make_unique<Journal>(meta_, super_.uuid, super_.journal_block, super_.journal_blocks,
                                super_.journal_position, super_.journal_sequence);
  return journal_->Replay(
      [this](uint16_t type, uint16_t flags, std::span<const std::byte> payload) {
        return ApplyRecord(type, flags, payload);
      });
}

Status SnapStoreImpl::ApplyRecord(uint16_t type, uint16_t flags,
                                  std::span<const std::byte> payload) {
  std::vector<disk::Extent> extents;
  std::vector<disk::Exception> exceptions;
  disk::Copy copy;
  disk::Create create;
  disk::Number number;
  Status s;
  switch (type) {
    case disk::kGrant:
    case disk::kReturn:
    case disk::kKept:
      if (!As(payload, &extents) && !(type == disk::kKept && payload.empty())) break;
      if (type == disk::kKept && flags == 1) grants_.Clear();
      for (const disk::Extent& e : extents) {
        s = type == disk::kReturn ? ApplyReturn(e.address, e.count)
                                  : ApplyGrant(e.address, e.count, type == disk::kKept);
        if (!s) return s;
      }
      return {};
    case disk::kReturnAll:
      return ApplyReturnAll();
    case disk::kCopy:
    case disk::kUnreadable:
    case disk::kPrivate:
      if (!As(payload, &copy)) break;
      if (s = CheckCopy(copy.snapshot, copy.chunk, copy.count, copy.address); !s) return s;
      return type == disk::kPrivate
                 ? ApplyPrivate(copy.snapshot, copy.chunk, copy.count, copy.address)
                 : ApplyCopy(copy.chunk, copy.count, copy.address, type == disk::kUnreadable);
    case disk::kCreate:
      if (!As(payload, &create)) break;
      return ApplyCreate(create);
    case disk::kFree:
    case disk::kStrip:
      if (!As(payload, &exceptions)) break;
      return ApplyFree(exceptions, type == disk::kStrip);
    case disk::kFreePrivate:
    case disk::kStripPrivate:
      if (!As(payload, &exceptions)) break;
      return ApplyFreePrivate(exceptions, type == disk::kStripPrivate);
    case disk::kBoot: {
      disk::Boot boot;
      if (!As(payload, &boot)) break;
      std::memcpy(super_.boot_id.data(), boot.id, 16);
      super_.attached = false;
      return ApplyReturnAll();
    }
    default:
      if (type == 0 || type >= disk::kRecordTypes || !As(payload, &number)) break;
      return ApplyNumber(type, number.key, number.value);
  }
  return BadRecord(type);
}

Status SnapStoreImpl::ApplyNumber(uint16_t type, uint64_t key, uint64_t value) {
  switch (type) {
    case disk::kDelete:
      return ApplyState(key, Snapshot::State::kDeleting);
    case disk::kGiveUp:
      return ApplyState(key, Snapshot::State::kGivenUp);
    case disk::kBookmark:
      return ApplyState(key, Snapshot::State::kBookmark);
    case disk::kReclaimed:
      return ApplyReclaimed(key);
    case disk::kPriority:
    case disk::kUsecount: {
      Snapshot* snap = Mutable(key);
      if (snap == nullptr) return BadRecord(type);
      if (type == disk::kUsecount && value > kMaxUsecount) return BadRecord(type);
      if (type == disk::kPriority) {
        snap->priority = static_cast<int8_t>(static_cast<int64_t>(value));
      } else {
        snap->usecount = static_cast<uint32_t>(value);
      }
      return PutSnapshot(key);
    }
    case disk::kAttached:
      if (key > 1) return BadRecord(type);
      super_.attached = key != 0;
      return {};
    case disk::kOriginSize:
      if (key == 0 || key % 512 != 0) return BadRecord(type);
      return ApplyOriginSize(key);
    case disk::kRevert:
      if (key != 0 && FindEpoch(key) == nullptr) return BadRecord(type);
      super_.reverting = key;
      return {};
    default:
      return BadRecord(type);
  }
}

// A kernel that is gone has no copies in flight: its grants are void, and it is
// not attached any more.
Status SnapStoreImpl::NewBoot() {
  if (options_.read_only || options_.boot_id == super_.boot_id) return {};
  disk::Boot boot;
  std::memcpy(boot.id, options_.boot_id.data(), 16);
  super_.boot_id = options_.boot_id;
  super_.attached = false;
  if (Status s = ApplyReturnAll(); !s) return s;
  journal_->Append(disk::kBoot, boot);
  return Commit(false);
}

}  // namespace ddsnap
