// SPDX-License-Identifier: GPL-2.0
// Durability and background work: commit, checkpoint.
//
// A checkpoint is taken when nothing is staged: what is in memory then is what
// the journal says.  The trees and maps of that moment are frozen, their blocks
// are written in slices, flushed, and only then does a superblock lead to them.
#include <algorithm>
#include <cerrno>
#include <string>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

constexpr size_t kSliceBlocks = 256;    // metadata blocks written by one Step
constexpr size_t kMaxPinned = 1 << 16;  // ranges that wait for a checkpoint

}  // namespace

Status SnapStoreImpl::Commit(bool flush_copies) {
  if (Status s = CheckWritable(); !s) return s;
  if (journal_->empty()) return {};
  // With a metadata device the last commit's flush said nothing about the store.
  if (flush_copies || (super_.separate && batch_has_copies_))
    if (Status s = store_.Flush(); !s) return Poison(std::move(s));
  if (journal_->batch_blocks() > journal_->blocks() - journal_->used())
    if (Status s = FinishCheckpoint(); !s) return s;
  if (Status s = journal_->Commit(); !s) return Poison(std::move(s));
  batch_has_copies_ = false;
  // The foreground waits for a checkpoint only when ring or reserve run out.
  const bool short_of = journal_->used() > journal_->blocks() * 3 / 4 || tx_->made() > made_limit_;
  if (short_of)
    if (Status s = FinishCheckpoint(); !s) return s;
  if (phase_ == Phase::kIdle && NeedsCheckpoint()) return StartCheckpoint();
  return {};
}

// ---- checkpoint

// A superblock that a cut has torn is written anew by the next checkpoint.
bool SnapStoreImpl::NeedsCheckpoint() const {
  return other_super_ || journal_->used() > journal_->blocks() / 2 ||
         tx_->made() > made_limit_ / 2 || maps_[1]->pinned_ranges() > kMaxPinned ||
         (want_space_ && (maps_[0]->pinned() > 0 || maps_[1]->pinned() > 0));
}

Status SnapStoreImpl::StartCheckpoint() {
  next_super_ = super_;
  next_super_.generation = tx_->generation();
  next_super_.tree_blocks = tx_->in_use();
  next_super_.journal_position = journal_->position();
  next_super_.journal_sequence = journal_->sequence();
  for (uint32_t i = 0; i < disk::kTrees; ++i) next_super_.roots[i] = trees_[i]->root();
  tx_->Freeze();
  maps_[1]->Freeze();
  for (size_t i = 0; i < maps_.size(); ++i) next_super_.maps[i] = maps_[i]->frozen_layout();
  phase_ = Phase::kBlocks;
  // Which of the used chunks are only granted, the journal says from here on; it
  // has to say so durably before the superblock may point here.
  std::vector<disk::Extent> kept;
  for (const auto& [start, end] : grants_.ranges()) kept.push_back({start, end - start});
  journal_->Append(disk::kKept, std::span<const disk::Extent>(kept), 1);
  if (journal_->batch_blocks() > journal_->blocks() - journal_->used())
    return Poison(Fail(ENOSPC, meta_.name() + ": journal: too small for the grants"));
  return Poison(journal_->Commit());
}

Status SnapStoreImpl::AdvanceCheckpoint(size_t slice) {
  const unsigned copy = 1 - copy_;
  if (phase_ == Phase::kBlocks) {
    auto more = cache_->WriteFrozen(slice);
    if (!more) return Pass(more);
    if (!*more) phase_ = Phase::kMaps;
    return {};
  }
  if (phase_ == Phase::kMaps) {
    for (auto& map : maps_) {
      auto more = map->WriteFrozen(slice, copy, next_super_.generation);
      if (!more) return Pass(more);
      if (*more) return {};
    }
    phase_ = Phase::kSuper;
    return {};
  }
  if (phase_ != Phase::kSuper) return {};
  if (Status s = meta_.Flush(); !s) return s;
  if (Status s = WriteSuperblock(meta_, copy, next_super_); !s) return s;
  if (Status s = meta_.Flush(); !s) return s;
  copy_ = copy;
  old_copy_[copy] = false;
  other_super_.reset();
  super_.generation = next_super_.generation;
  journal_->Release(next_super_.journal_position);
  for (auto& map : maps_) map->Durable();
  phase_ = Phase::kIdle;
  return {};
}

Status SnapStoreImpl::FinishCheckpoint() {
  while (phase_ != Phase::kIdle)
    if (Status s = AdvanceCheckpoint(~size_t{0}); !s) return Poison(std::move(s));
  return {};
}

Status SnapStoreImpl::Checkpoint() {
  if (Status s = Commit(true); !s) return s;
  if (Status s = FinishCheckpoint(); !s) return s;
  if (Status s = StartCheckpoint(); !s) return s;
  return FinishCheckpoint();
}

Result<bool> SnapStoreImpl::Step() {
  if (Status s = CheckWritable(); !s) return Pass(s);
  if (phase_ == Phase::kIdle && !dirty() && NeedsCheckpoint()) {
    if (Status s = StartCheckpoint(); !s) return Pass(s);
  } else if (phase_ != Phase::kIdle) {
    if (Status s = Poison(AdvanceCheckpoint(kSliceBlocks)); !s) return Pass(s);
  }
  if (!batch_full() && maps_[1]->pinned_ranges() <= 2 * kMaxPinned)
    if (Status s = ReclaimSlice(); !s) return Pass(s);
  return phase_ != Phase::kIdle || (!dirty() && NeedsCheckpoint()) || NextReclaim().has_value();
}

}  // namespace ddsnap
