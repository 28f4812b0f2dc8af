// SPDX-License-Identifier: GPL-2.0
// New sizes of the devices.
//
// Crash safety.  A store of another size is another layout of the space maps, and a layout is
// part of the superblock: it changes with a checkpoint, whole or not at all.  What the
// checkpoint needs before that is written where the durable superblock does not lead: pages
// of the map behind its last page, in blocks that it has as free or does not have at all.
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

// What the trees need at least for a chunk: an exception and its label (see Plan).
constexpr uint64_t kLeastTreeBytesPerChunk = 32;

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
  if (super_.separate)
    if (Status s = GrowMetadata(meta_bytes); !s) return s;
  const uint64_t chunks = store_bytes / super_.chunk_bytes;
  Status s = chunks < maps_[1]->units() ? ShrinkChunks(chunks) : GrowChunks(chunks);
  if (!s) return s;
  super_.store_bytes = store_bytes;
  super_.meta_bytes = super_.separate ? meta_bytes : store_bytes;
  space_known_ = false;
  return Checkpoint();
}

// The new pages lie at the beginning of what is new, which nothing leads to.
Status SnapStoreImpl::GrowMetadata(uint64_t bytes) {
  SpaceMap& map = *maps_[0];
  const uint64_t blocks = bytes / kBlock, before = map.units();
  if (blocks == before) return {};
  auto pages = PagesToAdd(map.layout(), blocks);
  if (!pages) return Pass(pages);
  // A doubled segment may be larger than all that is new.
  const uint64_t need = PagesFor(blocks) - std::min(PagesFor(blocks), PagesOf(map.layout()));
  uint64_t add = *pages;
  if (2 * add > (blocks - before) / 2) add = need;
  if (2 * add > blocks - before) return Fail(ENOSPC, meta_.name() + ": grows by too little");
  super_.meta_bytes = bytes;
  if (Status s = map.Grow(blocks, {before, add}, tx_->generation()); !s)
    return Poison(std::move(s));
  if (add > 0)
    if (Status s = map.Set(before, 2 * add); !s) return Poison(std::move(s));
  made_limit_ = MadeLimit();
  return {};
}

Status SnapStoreImpl::GrowChunks(uint64_t chunks) {
  SpaceMap& map = *maps_[1];
  if (chunks == map.units()) return {};
  const uint64_t trees = maps_[0]->units() - super_.journal_blocks;
  if (!super_.separate && trees * kBlock / kLeastTreeBytesPerChunk < chunks)
    return Fail(EFBIG, store_.name() + ": the metadata that shares it does for at most " +
                           std::to_string(trees * kBlock / kLeastTreeBytesPerChunk) +
                           " chunks; larger stores need a new one, or a metadata device");
  auto pages = PagesToAdd(map.layout(), chunks);
  if (!pages) return Pass(pages);
  MapLayout::Segment segment;
  if (*pages > 0) {
    const uint64_t need = PagesFor(chunks) - PagesOf(map.layout());
    for (const uint64_t add : {*pages, need}) {
      auto run = maps_[0]->AllocateRun(2 * add);
      if (!run) return Poison(Pass(run));
      if (!*run) continue;
      segment = {**run, add};
      break;
    }
    if (segment.pages == 0)
      return Fail(ENOSPC, meta_.name() + ": no room for the map of a store of that size");
  }
  return Poison(map.Grow(chunks, segment, tx_->generation()));
}

// Chunks do not move: those that are to go must be free.
Status SnapStoreImpl::ShrinkChunks(uint64_t chunks) {
  SpaceMap& map = *maps_[1];
  uint64_t used = 0, last = 0;
  for (uint64_t i = chunks; i < map.units(); ++i) {
    auto bit = map.Test(i);
    if (!bit) return Poison(Pass(bit));
    if (!*bit) continue;
    ++used;
    last = i;
  }
  if (used != 0)
    return Fail(EBUSY, store_.name() + ": " + std::to_string(used) +
                           " chunks in use lie beyond the new end, the last ends at byte " +
                           std::to_string((last + 1) * super_.chunk_bytes));
  return Poison(map.Shrink(chunks));
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
