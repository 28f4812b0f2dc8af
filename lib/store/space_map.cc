// SPDX-License-Identifier: GPL-2.0
#include "store/space_map.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include "store/block_cache.h"

namespace ddsnap {
namespace {

using disk::kBitsPerPage;
using disk::kBlock;

void FillHeader(std::byte* block, uint32_t magic, const Uuid& uuid, uint64_t number,
                uint64_t generation) {
  disk::BlockHeader header;
  std::memset(static_cast<void*>(&header), 0, sizeof(header));
  header.magic = magic;
  std::memcpy(header.uuid, uuid.data(), 16);
  header.block = number;
  header.generation = generation;
  std::memcpy(block, &header, sizeof(header));
  header.crc = HeaderChecksum({block, kBlock});
  std::memcpy(block, &header, sizeof(header));
}

Status CheckHeader(const std::byte* block, uint32_t magic, const Uuid& uuid, uint64_t number,
                   uint64_t generation, const std::string& where) {
  disk::BlockHeader header;
  std::memcpy(static_cast<void*>(&header), block, sizeof(header));
  if (header.magic != magic) return Fail(EBADMSG, where + ": not what should be there");
  if (std::memcmp(header.uuid, uuid.data(), 16) != 0)
    return Fail(EBADMSG, where + ": belongs to another store");
  if (header.crc != HeaderChecksum({block, kBlock})) return Fail(EBADMSG, where + ": wrong checksum");
  if (header.block != number) return Fail(EBADMSG, where + ": belongs elsewhere");
  if (header.generation > generation) return Fail(EBADMSG, where + ": newer than the superblock");
  return {};
}

bool GetBit(const std::byte* page, uint64_t bit) {
  return (static_cast<unsigned>(page[disk::kMapHeader + bit / 8]) >> (bit % 8)) & 1;
}

void SetBit(std::byte* page, uint64_t bit, bool value) {
  std::byte& b = page[disk::kMapHeader + bit / 8];
  const std::byte mask{static_cast<uint8_t>(1u << (bit % 8))};
  b = value ? (b | mask) : (b & ~mask);
}

}  // namespace

Status SpaceMap::Format(BlockDevice& meta, const Uuid& uuid, const MapLayout& layout,
                        uint64_t used) {
  alignas(kBlock) std::array<std::byte, kBlock> buffer;
  SpaceMap map(meta, uuid, layout, 0);
  for (uint64_t page = 0; page < layout.pages(); ++page) {
    buffer.fill(std::byte{0});
    const uint64_t first = page * kBitsPerPage;
    for (uint64_t bit = 0; bit < kBitsPerPage; ++bit)
      if (first + bit < used || first + bit >= layout.units) SetBit(buffer.data(), bit, true);
    FillHeader(buffer.data(), disk::kMapMagic, uuid, page, 1);
    if (Status s = meta.Write(map.PlaceOf(page, false) * kBlock, buffer); !s) return s;
  }
  for (unsigned copy = 0; copy < 2; ++copy)
    for (uint64_t i = 0; i < layout.slot_blocks; ++i) {
      buffer.fill(std::byte{0});
      FillHeader(buffer.data(), disk::kSlotsMagic, uuid, i, 1);
      if (Status s = meta.Write((layout.slots[copy] + i) * kBlock, buffer); !s) return s;
    }
  return {};
}

Result<std::unique_ptr<SpaceMap>> SpaceMap::Load(BlockDevice& meta, const Uuid& uuid,
                                                 const MapLayout& layout, unsigned copy,
                                                 uint64_t generation, size_t max_pages) {
  auto map = std::unique_ptr<SpaceMap>(new SpaceMap(meta, uuid, layout, max_pages));
  if (Status s = map->LoadSlots(copy, generation); !s) return Pass(s);
  return map;
}

Status SpaceMap::LoadSlots(unsigned copy, uint64_t generation) {
  alignas(kBlock) std::array<std::byte, kBlock> buffer;
  generation_ = generation;
  slots_.assign(layout_.pages(), false);
  for (uint64_t i = 0; i < layout_.slot_blocks; ++i) {
    const uint64_t block = layout_.slots[copy] + i;
    const std::string where = meta_.name() + ": slot table block " + std::to_string(block);
    if (Status s = meta_.Read(block * kBlock, buffer); !s) return s;
    if (Status s = CheckHeader(buffer.data(), disk::kSlotsMagic, uuid_, i, generation, where); !s)
      return s;
    const uint64_t first = i * kBitsPerPage;
    for (uint64_t bit = 0; bit < kBitsPerPage && first + bit < slots_.size(); ++bit)
      slots_[first + bit] = GetBit(buffer.data(), bit);
  }
  // What the copies hold beyond the one just read is not known: an earlier
  // checkpoint may have been cut off.
  for (auto& stale : stale_slots_) stale.assign(layout_.slot_blocks, true);
  return {};
}

uint64_t SpaceMap::available() const {
  const uint64_t taken = pinned();
  return layout_.free_units > taken ? layout_.free_units - taken : 0;
}

uint64_t SpaceMap::PlaceOf(const MapLayout& layout, uint64_t page, bool slot) {
  for (const auto& segment : layout.segments) {
    if (page < segment.pages) return segment.block + 2 * page + (slot ? 1 : 0);
    page -= segment.pages;
  }
  return 0;  // not reached: the superblock was checked to have all pages
}

Result<SpaceMap::Page*> SpaceMap::Get(uint64_t number) {
  if (auto it = pages_.find(number); it != pages_.end()) return &it->second;
  if (pages_.size() >= max_pages_) Evict();
  Page page;
  page.bytes.reset(new std::byte[kBlock]);
  const uint64_t place = PlaceOf(number, slots_[number]);
  if (Status s = meta_.Read(place * kBlock, {page.bytes.get(), kBlock}); !s) return Pass(s);
  const std::string where = meta_.name() + ": space map block " + std::to_string(place);
  if (Status s = CheckHeader(page.bytes.get(), disk::kMapMagic, uuid_, number, generation_, where);
      !s)
    return Pass(s);
  return &pages_.emplace(number, std::move(page)).first->second;
}

void SpaceMap::Evict() {
  for (auto it = pages_.begin(); it != pages_.end() && pages_.size() > max_pages_ / 2;) {
    const bool clean = !it->second.dirty && !it->second.to_write;
    it = clean ? pages_.erase(it) : std::next(it);
  }
}

Status SpaceMap::Flip(uint64_t start, uint64_t count, bool set) {
  if (start >= layout_.units || count > layout_.units - start)
    return Fail(EBADMSG, meta_.name() + ": space map: unit " + std::to_string(start) +
                             " is outside the device");
  for (uint64_t unit = start; unit < start + count;) {
    const uint64_t number = unit / kBitsPerPage;
    auto page = Get(number);
    if (!page) return Pass(page);
    Page& p = **page;
    if (p.to_write && !p.frozen) {
      p.frozen.reset(new std::byte[kBlock]);
      std::memcpy(p.frozen.get(), p.bytes.get(), kBlock);
    }
    p.dirty = true;
    dirty_.insert(number);
    const uint64_t end = std::min(start + count, (number + 1) * kBitsPerPage);
    for (; unit < end; ++unit) {
      const uint64_t bit = unit % kBitsPerPage;
      if (GetBit(p.bytes.get(), bit) == set)
        return Fail(EBADMSG, meta_.name() + ": space map: unit " + std::to_string(unit) + " is " +
                                 (set ? "used" : "free") + " already");
      SetBit(p.bytes.get(), bit, set);
    }
  }
  layout_.free_units += set ? -count : count;
  return {};
}

Status SpaceMap::Set(uint64_t start, uint64_t count) {
  if (Status s = Flip(start, count, true); !s) return s;
  // Replay takes units again that an earlier record of the journal freed.
  pinned_.Remove(start, count);
  return {};
}

Status SpaceMap::Clear(uint64_t start, uint64_t count, bool pin) {
  if (Status s = Flip(start, count, false); !s) return s;
  if (pin) pinned_.Add(start, count);
  return {};
}

Result<bool> SpaceMap::Test(uint64_t unit) {
  if (unit >= layout_.units) return true;
  auto page = Get(unit / kBitsPerPage);
  if (!page) return Pass(page);
  return GetBit((*page)->bytes.get(), unit % kBitsPerPage);
}

std::optional<uint64_t> SpaceMap::BlockedUntil(uint64_t start, uint64_t count) const {
  for (const RangeSet* set : {&pinned_, &pinned_frozen_})
    if (auto end = set->OverlapEnd(start, count)) return end;
  return std::nullopt;
}

// The first clear bit at or after `unit`, or units().
Result<uint64_t> SpaceMap::NextFree(uint64_t unit) {
  while (unit < layout_.units) {
    auto page = Get(unit / kBitsPerPage);
    if (!page) return Pass(page);
    const std::byte* bits = (*page)->bytes.get();
    const uint64_t end = std::min(layout_.units, (unit / kBitsPerPage + 1) * kBitsPerPage);
    while (unit < end) {
      const uint64_t bit = unit % kBitsPerPage;
      if (bit % 64 == 0) {
        uint64_t word;
        std::memcpy(&word, bits + disk::kMapHeader + bit / 8, sizeof(word));
        if (word == ~uint64_t{0}) {
          unit += 64;
          continue;
        }
      }
      if (!GetBit(bits, bit)) return unit;
      ++unit;
    }
    unit = end;
  }
  return layout_.units;
}

Result<std::optional<SpaceMap::Found>> SpaceMap::AllocateUp(uint64_t max) {
  if (available() == 0 || max == 0) return std::nullopt;
  uint64_t unit = cursor_ < layout_.units ? cursor_ : 0;
  const uint64_t start = unit;
  for (bool around = false;;) {
    auto next = NextFree(unit);
    if (!next) return Pass(next);
    unit = *next;
    if (unit >= layout_.units || (around && unit >= start)) {
      if (around) return std::nullopt;
      around = true;
      unit = 0;
      continue;
    }
    const auto blocked = BlockedUntil(unit, 1);
    if (!blocked) break;
    unit = *blocked;
  }
  Found found{unit, 1};
  while (found.count < max && found.start + found.count < layout_.units) {
    auto used = Test(found.start + found.count);
    if (!used) return Pass(used);
    if (*used || BlockedUntil(found.start + found.count, 1)) break;
    ++found.count;
  }
  cursor_ = found.start + found.count;
  if (Status s = Flip(found.start, found.count, true); !s) return Pass(s);
  return found;
}

Result<std::optional<uint64_t>> SpaceMap::FindRun(uint64_t count) {
  for (uint64_t unit = 0; count <= layout_.units;) {
    auto next = NextFree(unit);
    if (!next) return Pass(next);
    unit = *next;
    if (unit > layout_.units - count) break;
    uint64_t length = 0;
    while (length < count) {
      auto used = Test(unit + length);
      if (!used) return Pass(used);
      if (*used || BlockedUntil(unit + length, 1)) break;
      ++length;
    }
    if (length == count) return unit;
    unit += length + 1;
  }
  return std::nullopt;
}

// Many at once, for a large store has many.  Both slots of a page are written; neither counts.
Status SpaceMap::WriteFreshPages(const MapLayout& next, uint64_t generation) {
  uint64_t first = layout_.pages();
  const uint64_t end = next.pages();
  constexpr uint64_t kBatch = 128;
  const std::unique_ptr<std::byte[], void (*)(std::byte*)> buffer(
      static_cast<std::byte*>(::operator new[](2 * kBatch * kBlock, std::align_val_t{kBlock})),
      [](std::byte* p) { ::operator delete[](p, std::align_val_t{kBlock}); });
  while (first < end) {
    const uint64_t place = PlaceOf(next, first, false);
    uint64_t n = 0;
    for (; n < kBatch && first + n < end && PlaceOf(next, first + n, false) == place + 2 * n; ++n) {
      std::byte* page = buffer.get() + 2 * n * kBlock;
      std::memset(page, 0, 2 * kBlock);
      const uint64_t unit = (first + n) * kBitsPerPage;
      for (uint64_t bit = next.units > unit ? next.units - unit : 0; bit < kBitsPerPage; ++bit)
        SetBit(page, bit, true);
      FillHeader(page, disk::kMapMagic, uuid_, first + n, generation);
    }
    if (Status s = meta_.Write(place * kBlock, {buffer.get(), 2 * n * kBlock}); !s) return s;
    first += n;
  }
  return {};
}

Status SpaceMap::Grow(const MapLayout& next, uint64_t generation) {
  const uint64_t old_units = layout_.units, old_pages = layout_.pages(), units = next.units;
  layout_.segments = next.segments;
  layout_.units = units;
  slots_.resize(layout_.pages(), false);
  generation_ = std::max(generation_, generation);
  for (uint64_t page = old_pages; page < layout_.pages(); ++page)
    for (auto& stale : stale_slots_) stale[page / kBitsPerPage] = true;
  const uint64_t here = std::min(units, old_pages * kBitsPerPage);
  layout_.free_units += units - std::max(here, old_units);
  return here > old_units ? Flip(old_units, here - old_units, false) : Status();
}

Status SpaceMap::Shrink(uint64_t units) {
  const uint64_t old_units = layout_.units;
  // What is left of the last page that stays has its bits set, as at every map's end.
  const uint64_t pages = (units + kBitsPerPage - 1) / kBitsPerPage;
  const uint64_t here = std::min(old_units, pages * kBitsPerPage);
  if (here > units)
    if (Status s = Flip(units, here - units, true); !s) return s;
  layout_.free_units -= old_units - here;
  layout_.units = units;
  pages_.erase(pages_.lower_bound(pages), pages_.end());
  slots_.resize(pages);
  if (cursor_ >= units) cursor_ = 0;
  return {};
}

void SpaceMap::Freeze() {
  frozen_layout_ = layout_;
  for (const uint64_t number : dirty_) {
    Page& page = pages_.at(number);
    page.dirty = false;
    page.to_write = true;
  }
  to_write_.merge(dirty_);
  dirty_.clear();
  pinned_frozen_ = std::move(pinned_);
  pinned_.Clear();
}

Status SpaceMap::WritePage(uint64_t number, Page& page, uint64_t generation) {
  alignas(kBlock) std::array<std::byte, kBlock> buffer;
  std::memcpy(buffer.data(), page.frozen ? page.frozen.get() : page.bytes.get(), kBlock);
  FillHeader(buffer.data(), disk::kMapMagic, uuid_, number, generation);
  const bool slot = !slots_[number];
  if (Status s = meta_.Write(PlaceOf(number, slot) * kBlock, buffer); !s) return s;
  slots_[number] = slot;
  for (auto& stale : stale_slots_) stale[number / kBitsPerPage] = true;
  generation_ = std::max(generation_, generation);
  page.frozen.reset();
  page.to_write = false;
  return {};
}

Status SpaceMap::WriteSlots(unsigned copy, uint64_t generation) {
  alignas(kBlock) std::array<std::byte, kBlock> buffer;
  for (uint64_t i = 0; i < layout_.slot_blocks; ++i) {
    if (!stale_slots_[copy][i]) continue;
    buffer.fill(std::byte{0});
    const uint64_t first = i * kBitsPerPage;
    for (uint64_t bit = 0; bit < kBitsPerPage && first + bit < slots_.size(); ++bit)
      SetBit(buffer.data(), bit, slots_[first + bit]);
    FillHeader(buffer.data(), disk::kSlotsMagic, uuid_, i, generation);
    if (Status s = meta_.Write((layout_.slots[copy] + i) * kBlock, buffer); !s) return s;
    stale_slots_[copy][i] = false;
  }
  return {};
}

Result<bool> SpaceMap::WriteFrozen(size_t max, unsigned copy, uint64_t generation) {
  while (max-- > 0 && !to_write_.empty()) {
    const uint64_t number = *to_write_.begin();
    if (Status s = WritePage(number, pages_.at(number), generation); !s) return Pass(s);
    to_write_.erase(to_write_.begin());
  }
  if (!to_write_.empty()) return true;
  if (Status s = WriteSlots(copy, generation); !s) return Pass(s);
  return false;
}

}  // namespace ddsnap
