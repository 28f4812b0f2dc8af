// SPDX-License-Identifier: GPL-2.0
// Which units of a device are in use: one bit each, in pages with two slots.
//
// Invariants.  (1) A unit that was freed is "pinned": clear in the map, but not
// handed out before the checkpoint of the generation that freed it is durable.
// Until then the durable superblock may still lead to it.  (2) A page is written only
// into the slot that the durable slot table does not name, and the slot table is
// written in the copy that belongs to the superblock about to be written. So
// the durable superblock always finds its own pages.
#ifndef DDSNAP_STORE_SPACE_MAP_H_
#define DDSNAP_STORE_SPACE_MAP_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/range_set.h"
#include "base/status.h"
#include "io/block_device.h"
#include "store/superblock.h"

namespace ddsnap {

class SpaceMap {
 public:
  struct Found {
    uint64_t start = 0;
    uint64_t count = 0;
  };

  // Writes the pages and slot tables of an empty map into which the units
  // [0, used) are set.  `slots` 0 everywhere; both table copies are written.
  [[nodiscard]] static Status Format(BlockDevice& meta, const Uuid& uuid, const MapLayout& layout,
                                     uint64_t used);

  // Loads the slot table that belongs to superblock `copy`.
  [[nodiscard]] static Result<std::unique_ptr<SpaceMap>> Load(BlockDevice& meta, const Uuid& uuid,
                                                              const MapLayout& layout,
                                                              unsigned copy, uint64_t generation,
                                                              size_t max_pages);

  [[nodiscard]] uint64_t units() const { return layout_.units; }
  [[nodiscard]] uint64_t free_units() const { return layout_.free_units; }
  // Free and not pinned: what can be had now.
  [[nodiscard]] uint64_t available() const;
  [[nodiscard]] uint64_t pinned() const { return pinned_.total() + pinned_frozen_.total(); }
  [[nodiscard]] size_t pinned_ranges() const { return pinned_.size(); }
  [[nodiscard]] const MapLayout& layout() const { return layout_; }

  // Takes one run of up to `max` units, searching upwards from where the last
  // search ended and around.  nullopt: none.
  [[nodiscard]] Result<std::optional<Found>> AllocateUp(uint64_t max);

  // Finds `count` units side by side that can be had now.  nullopt: there is no such run.
  [[nodiscard]] Result<std::optional<uint64_t>> FindRun(uint64_t count);

  // Growing, in two steps, with a layout that has more units, and perhaps one more segment.
  // First the pages behind the last one are written, where the durable superblock does not
  // lead, in the form that `generation`, the one to be checkpointed next, will find: after an
  // error the map is what it was.  Then it has these units, the new ones free.
  // Nothing is frozen.
  [[nodiscard]] Status WriteFreshPages(const MapLayout& next, uint64_t generation);
  [[nodiscard]] Status Grow(const MapLayout& next, uint64_t generation);
  // From now on it has fewer; all that go are free.  Nothing is frozen or pinned.
  [[nodiscard]] Status Shrink(uint64_t units);

  // Marks units as used (replay); EBADMSG if one is already.
  [[nodiscard]] Status Set(uint64_t start, uint64_t count);
  // Frees units; EBADMSG if one is free already.  `pin` false where nothing
  // durable can refer to them.
  [[nodiscard]] Status Clear(uint64_t start, uint64_t count, bool pin);
  [[nodiscard]] Result<bool> Test(uint64_t unit);

  // ---- checkpoint
  void Freeze();
  // Writes up to `max` frozen pages, then the changed blocks of the slot table's
  // copy `copy`.  Returns whether there is more.  No flush.
  [[nodiscard]] Result<bool> WriteFrozen(size_t max, unsigned copy, uint64_t generation);
  // The layout as of the freeze, for the superblock.
  [[nodiscard]] const MapLayout& frozen_layout() const { return frozen_layout_; }
  // The superblock is durable: what the older one led to may be used.
  void Durable() { pinned_frozen_.Clear(); }

 private:
  using Bytes = std::unique_ptr<std::byte[]>;
  struct Page {
    Bytes bytes;           // kBlock, header included
    Bytes frozen;          // image for the checkpoint, if changed since the freeze
    bool dirty = false;    // changed in the current generation
    bool to_write = false; // belongs to the checkpoint under way
  };

  SpaceMap(BlockDevice& meta, const Uuid& uuid, const MapLayout& layout, size_t max_pages)
      : meta_(meta), uuid_(uuid), layout_(layout), max_pages_(max_pages) {}
  [[nodiscard]] Status LoadSlots(unsigned copy, uint64_t generation);
  [[nodiscard]] Result<Page*> Get(uint64_t number);
  [[nodiscard]] Status Flip(uint64_t start, uint64_t count, bool set);
  [[nodiscard]] static uint64_t PlaceOf(const MapLayout& layout, uint64_t page, bool slot);
  [[nodiscard]] uint64_t PlaceOf(uint64_t page, bool slot) const {
    return PlaceOf(layout_, page, slot);
  }
  [[nodiscard]] Result<uint64_t> NextFree(uint64_t unit);
  [[nodiscard]] std::optional<uint64_t> BlockedUntil(uint64_t start, uint64_t count) const;
  [[nodiscard]] Status WritePage(uint64_t number, Page& page, uint64_t generation);
  [[nodiscard]] Status WriteSlots(unsigned copy, uint64_t generation);
  void Evict();

  BlockDevice& meta_;
  const Uuid uuid_;
  MapLayout layout_;
  MapLayout frozen_layout_;
  const size_t max_pages_;
  uint64_t generation_ = 0;  // of the superblock that was loaded
  std::map<uint64_t, Page> pages_;
  std::set<uint64_t> dirty_;
  std::set<uint64_t> to_write_;
  std::vector<bool> slots_;                       // as of the last checkpoint written
  std::array<std::vector<bool>, 2> stale_slots_;  // table blocks that copy i lacks
  RangeSet pinned_;
  RangeSet pinned_frozen_;
  uint64_t cursor_ = 0;
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_SPACE_MAP_H_
