// SPDX-License-Identifier: GPL-2.0
// New sizes of the devices.
//
// Crash safety.  A store of another size is another layout of the space maps, and a layout is
// part of the superblock: it changes with a checkpoint, whole or not at all.  What the
// checkpoint needs before that is written where the durable superblock does not lead: pages
// of the map behind its last page, in blocks that it has as free or does not have at all.
// What may be refused, or fail for a bad place in what is new, comes before anything changes.
// Nothing of it is in the journal: the checkpoint before has emptied it, so no
// record is replayed onto a layout that it was not made for.
#include <algorithm>
#include <cerrno>
#include <string>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

using disk::kBitsPerPage;
using disk::kBlock;

uint64_t PagesFor(uint64_t units) { return (units + kBitsPerPage - 1) / kBitsPerPage; }

uint64_t PagesOf(const MapLayout& layout) {
  uint64_t pages = 0;
  for (const auto& segment : layout.segments) pages += segment.pages;
  return pages;
}

// What the trees need for a chunk when the store is full: 24 bytes in the exceptions and 16 in
// the labels, in nodes that are two thirds full (see Plan, which gives more).
constexpr uint64_t kLeastTreeBytesPerChunk = 60;

}  // namespace

// How many pages a new segment shall have; 0: none is needed.  Doubling keeps the number of
// segments small however often a store grows.
Result<uint64_t> SnapStoreImpl::PagesToAdd(const MapLayout& layout, uint64_t units) const {
  const uint64_t have = PagesOf(layout), need = PagesFor(units);
  if (need <= have) return 0;
  const uint64_t most = layout.slot_blocks * kBitsPerPage;
  if (need > most || layout.segments.size() == disk::kSegments)
    return Fail(EFBIG, store_.name() + ": cannot grow that far: its space map was made for less");
  return std::min(std::max(need - have, have), most - have);
}

Status SnapStoreImpl::CheckSizes(uint64_t store_bytes, uint64_t meta_bytes) const {
  if (store_bytes > store_.size())
    return Fail(EINVAL, store_.name() + ": has " + std::to_string(store_.size()) + " bytes, not " +
                            std::to_string(store_bytes));
  if (store_bytes / super_.chunk_bytes < 1) return Fail(EINVAL, store_.name() + ": too small");
  if (!super_.separate) return {};
  if (meta_bytes > meta_.size())
    return Fail(EINVAL, meta_.name() + ": has " + std::to_string(meta_.size()) + " bytes, not " +
                            std::to_string(meta_bytes));
  if (meta_bytes < super_.meta_bytes)
    return Fail(EOPNOTSUPP, meta_.name() + ": a metadata device cannot be made smaller");
  return {};
}

Status SnapStoreImpl::Resize(uint64_t store_bytes, uint64_t meta_bytes) {
  if (Status s = CheckWritable(); !s) return s;
  if (store_bytes == 0) store_bytes = super_.store_bytes;
  if (!super_.separate && meta_bytes != 0)
    return Fail(EINVAL, store_.name() + ": there is no metadata device");
  if (meta_bytes == 0) meta_bytes = super_.separate ? super_.meta_bytes : store_bytes;
  if (Status s = CheckSizes(store_bytes, meta_bytes); !s) return s;
  if (store_bytes == super_.store_bytes && meta_bytes == super_.meta_bytes) return {};
  // Nothing staged, nothing half-written, nothing pinned by what came before.
  if (Status s = Checkpoint(); !s) return s;
  ResizePlan plan{{maps_[0]->layout(), maps_[1]->layout()}, {}};
  if (Status s = PlanMetadata(meta_bytes, &plan); !s) return s;
  if (Status s = PlanChunks(store_bytes / super_.chunk_bytes, &plan); !s) return s;
  // Until here nothing has changed, and after an error of these writes nothing has either.
  for (size_t i = 0; i < maps_.size(); ++i)
    if (Status s = maps_[i]->WriteFreshPages(plan.maps[i], tx_->generation()); !s) return s;
  if (Status s = Adopt(plan); !s) return Poison(std::move(s));
  super_.store_bytes = store_bytes;
  super_.meta_bytes = super_.separate ? meta_bytes : store_bytes;
  space_known_ = false;
  return Checkpoint();
}

// Whether chunks can be granted afterwards: the trees' reserve must be there.
bool SnapStoreImpl::LeavesReserve(const ResizePlan& plan) const {
  const uint64_t blocks = plan.maps[0].units;
  const uint64_t have = maps_[0]->available() + (blocks - maps_[0]->units());
  const uint64_t taken = 2 * (plan.added[0].pages + plan.added[1].pages);
  return have > taken + Reserve(MadeLimit(blocks));
}

// The new pages lie at the beginning of what is new, which nothing leads to.
Status SnapStoreImpl::PlanMetadata(uint64_t bytes, ResizePlan* plan) const {
  const SpaceMap& map = *maps_[0];
  if (!super_.separate || bytes / kBlock == map.units()) return {};
  const uint64_t blocks = bytes / kBlock, more = blocks - map.units();
  auto pages = PagesToAdd(map.layout(), blocks);
  if (!pages) return Pass(pages);
  // A doubled segment may be larger than all that is new.
  const uint64_t need = PagesFor(blocks) - std::min(PagesFor(blocks), PagesOf(map.layout()));
  uint64_t add = *pages;
  if (2 * add > more / 2) add = need;
  if (2 * add > more) return Fail(ENOSPC, meta_.name() + ": grows by too little");
  const bool had = LeavesReserve(*plan);
  plan->Grow(0, blocks, {map.units(), add});
  if (had && !LeavesReserve(*plan)) return Fail(ENOSPC, meta_.name() + ": grows by too little");
  return {};
}

Status SnapStoreImpl::PlanChunks(uint64_t chunks, ResizePlan* plan) {
  const MapLayout& layout = maps_[1]->layout();
  if (chunks == layout.units) return {};
  if (chunks < layout.units) {
    plan->maps[1].units = chunks;
    return CheckFree(chunks);
  }
  const uint64_t trees = maps_[0]->units() - super_.journal_blocks;
  if (!super_.separate && trees * kBlock / kLeastTreeBytesPerChunk < chunks)
    return Fail(EFBIG, store_.name() + ": the metadata that shares it does for at most " +
                           std::to_string(trees * kBlock / kLeastTreeBytesPerChunk) +
                           " chunks; larger stores need a new one, or a metadata device");
  auto pages = PagesToAdd(layout, chunks);
  if (!pages) return Pass(pages);
  if (*pages == 0) {
    plan->maps[1].units = chunks;
    return {};
  }
  for (const uint64_t add : {*pages, PagesFor(chunks) - PagesOf(layout)}) {
    auto run = FindBlocks(2 * add, *plan);
    if (!run) return Pass(run);
    if (!*run) continue;
    ResizePlan tried = *plan;
    tried.Grow(1, chunks, {**run, add});
    if (!LeavesReserve(tried)) continue;
    *plan = std::move(tried);
    return {};
  }
  return Fail(ENOSPC, meta_.name() + ": no room for the map of a store of that size");
}

// Free blocks side by side: of those that the metadata becomes larger by, or of what it has.
Result<std::optional<uint64_t>> SnapStoreImpl::FindBlocks(uint64_t count, const ResizePlan& plan) {
  const uint64_t fresh = maps_[0]->units() + 2 * plan.added[0].pages;
  if (plan.maps[0].units >= fresh + count) return fresh;
  return maps_[0]->FindRun(count);
}

// Chunks do not move: those that are to go must be free.
Status SnapStoreImpl::CheckFree(uint64_t chunks) {
  SpaceMap& map = *maps_[1];
  uint64_t used = 0, last = 0;
  for (uint64_t i = chunks; i < map.units(); ++i) {
    auto bit = map.Test(i);
    if (!bit) return Pass(bit);
    if (!*bit) continue;
    ++used;
    last = i;
  }
  if (used == 0) return {};
  return Fail(EBUSY, store_.name() + ": " + std::to_string(used) +
                         " chunks in use lie beyond the new end, the last ends at byte " +
                         std::to_string((last + 1) * super_.chunk_bytes));
}

Status SnapStoreImpl::Adopt(const ResizePlan& plan) {
  for (size_t i = 0; i < maps_.size(); ++i) {
    SpaceMap& map = *maps_[i];
    const bool less = plan.maps[i].units < map.units();
    if (Status s = less ? map.Shrink(plan.maps[i].units)
                        : map.Grow(plan.maps[i], tx_->generation());
        !s)
      return s;
  }
  for (const MapLayout::Segment& added : plan.added)
    if (added.pages > 0)
      if (Status s = maps_[0]->Set(added.block, 2 * added.pages); !s) return s;
  made_limit_ = MadeLimit(maps_[0]->units());
  return {};
}

// ---- the origin

// Where an origin becomes smaller, what snapshots need of its end must be in the store: every
// chunk from the new end on has an exception that serves the newest of those that have it.
Status SnapStoreImpl::CheckTail(uint64_t bytes) {
  // From the newest to the oldest: each answers for the chunks that no newer one reaches.
  const uint64_t first = bytes / super_.chunk_bytes, end = Chunks(super_.origin_bytes);
  uint64_t missing = 0, from = first;
  for (auto it = live_.rbegin(); it != live_.rend() && from < end; ++it) {
    // Where `from` is the chunk that the new end cuts through, this one may end there as well.
    const uint64_t size = FindEpoch(*it)->size, to = std::min(Chunks(size), end);
    if (size <= bytes || to <= from) continue;
    auto lacking = CountWithout(*it, from, to);
    if (!lacking) return Pass(lacking);
    missing += *lacking;
    from = to;
  }
  if (missing == 0) return {};
  return Fail(EBUSY, "origin: " + std::to_string(missing) +
                         " chunks beyond the new end are needed by snapshots and not copied yet");
}

// How many of the chunks [from, to) have no exception with that label or a newer one.
Result<uint64_t> SnapStoreImpl::CountWithout(Epoch label, uint64_t from, uint64_t to) {
  std::vector<bool> there(to - from);
  Status s = trees_[disk::kLabels]->Scan({label, 0}, [&](const Entry& entry) {
    if (entry.key.minor >= from && entry.key.minor < to) there[entry.key.minor - from] = true;
    return true;
  });
  if (!s) return Pass(s);
  return static_cast<uint64_t>(std::count(there.begin(), there.end(), false));
}

}  // namespace ddsnap
