// SPDX-License-Identifier: GPL-2.0
#include "store/superblock.h"

#include <bit>
#include <cerrno>
#include <cstring>

#include "base/crc32c.h"

namespace ddsnap {
namespace {

using Buffer = std::array<std::byte, disk::kBlock>;

uint32_t Checksum(disk::Superblock super, std::span<const std::byte> block) {
  super.crc = 0;
  const uint32_t crc = Crc32c(std::as_bytes(std::span(&super, 1)));
  return Crc32c(block.subspan(sizeof(super)), crc);
}

void PackMap(const MapLayout& in, disk::Map* out) {
  out->units = in.units;
  out->unit_bytes = in.unit_bytes;
  out->free_units = in.free_units;
  out->slot_blocks = in.slot_blocks;
  for (int i = 0; i < 2; ++i) out->slots[i] = in.slots[i];
  for (size_t i = 0; i < in.segments.size() && i < disk::kSegments; ++i) {
    out->segments[i].block = in.segments[i].block;
    out->segments[i].pages = in.segments[i].pages;
  }
}

// The map's own structures must lie inside the metadata device.
bool UnpackMap(const disk::Map& in, uint64_t device_blocks, MapLayout* out) {
  out->units = in.units;
  out->unit_bytes = in.unit_bytes;
  out->free_units = in.free_units;
  out->slot_blocks = in.slot_blocks;
  const auto inside = [&](uint64_t block, uint64_t count) {
    return block < device_blocks && count <= device_blocks - block;
  };
  if (out->units == 0 || out->units > (1ull << 52) || out->free_units > out->units) return false;
  if (out->unit_bytes < disk::kBlock || !std::has_single_bit(out->unit_bytes) ||
      out->unit_bytes > kMaxChunkSize)
    return false;
  for (int i = 0; i < 2; ++i) {
    out->slots[i] = in.slots[i];
    if (!inside(out->slots[i], out->slot_blocks)) return false;
  }
  uint64_t pages = 0;
  for (const auto& segment : in.segments) {
    if (segment.pages == 0) break;
    if (segment.pages > device_blocks || !inside(segment.block, 2 * segment.pages)) return false;
    out->segments.push_back({segment.block, segment.pages});
    pages += segment.pages;
  }
  return pages >= out->pages() && out->slot_blocks <= (1u << 20) &&
         out->slot_blocks * disk::kBitsPerPage >= pages;
}

// Whatever the checksum says, no field may send the engine out of bounds.
const char* Unpack(const disk::Superblock& in, Superblock* out) {
  std::memcpy(out->uuid.data(), in.uuid, 16);
  std::memcpy(out->boot_id.data(), in.boot_id, 16);
  out->generation = in.generation;
  out->chunk_bytes = in.chunk_bytes;
  out->separate = in.separate != 0;
  out->origin_bytes = in.origin_bytes;
  out->store_bytes = in.store_bytes;
  out->meta_bytes = in.meta_bytes;
  out->epoch = in.epoch;
  out->created_ns = in.created_ns;
  out->tree_blocks = in.tree_blocks;
  out->journal_block = in.journal_block;
  out->journal_blocks = in.journal_blocks;
  out->journal_position = in.journal_position;
  out->journal_sequence = in.journal_sequence;
  out->attached = in.attached != 0;
  out->reverting = in.reverting;  // zero in a store of version 1
  if (out->chunk_bytes < kMinChunkSize || out->chunk_bytes > kMaxChunkSize ||
      !std::has_single_bit(out->chunk_bytes))
    return "impossible chunk size";
  const uint64_t blocks = out->meta_bytes / disk::kBlock;
  if (out->journal_blocks < 4 || out->journal_block >= blocks ||
      out->journal_blocks > blocks - out->journal_block)
    return "the journal lies outside the device";
  for (uint32_t i = 0; i < disk::kTrees; ++i) {
    const disk::Root& root = in.roots[i];
    out->roots[i] = {root.block, root.entries, root.height};
    const bool empty = root.block == 0;
    if (root.block >= blocks || root.height > 16 || empty != (root.height == 0))
      return "impossible tree root";
  }
  const uint32_t maps = in.maps;
  if (maps != 2) return "wrong number of space maps";
  for (uint32_t i = 0; i < maps; ++i) {
    MapLayout map;
    if (!UnpackMap(in.map[i], blocks, &map)) return "impossible space map";
    const uint64_t device = i == 0 ? out->meta_bytes : out->store_bytes;
    if (map.units > device / map.unit_bytes) return "a space map larger than its device";
    if (map.unit_bytes != (i == 0 ? disk::kBlock : out->chunk_bytes)) return "impossible space map";
    out->maps.push_back(std::move(map));
  }
  return nullptr;
}

}  // namespace

Status WriteSuperblock(BlockDevice& device, unsigned copy, const Superblock& super) {
  alignas(disk::kBlock) Buffer buffer{};
  disk::Superblock out;
  std::memset(static_cast<void*>(&out), 0, sizeof(out));
  out.magic = disk::kSuperMagic;
  out.version = disk::kVersion;
  std::memcpy(out.uuid, super.uuid.data(), 16);
  std::memcpy(out.boot_id, super.boot_id.data(), 16);
  out.generation = super.generation;
  out.block = SuperblockPlace(copy);
  out.chunk_bytes = super.chunk_bytes;
  out.separate = super.separate ? 1 : 0;
  out.origin_bytes = super.origin_bytes;
  out.store_bytes = super.store_bytes;
  out.meta_bytes = super.meta_bytes;
  out.epoch = super.epoch;
  out.created_ns = super.created_ns;
  out.tree_blocks = super.tree_blocks;
  out.journal_block = super.journal_block;
  out.journal_blocks = super.journal_blocks;
  out.journal_position = super.journal_position;
  out.journal_sequence = super.journal_sequence;
  out.attached = super.attached ? 1 : 0;
  out.maps = static_cast<uint32_t>(super.maps.size());
  out.reverting = super.reverting;
  for (uint32_t i = 0; i < disk::kTrees; ++i) {
    out.roots[i].block = super.roots[i].block;
    out.roots[i].entries = super.roots[i].entries;
    out.roots[i].height = super.roots[i].height;
  }
  for (size_t i = 0; i < super.maps.size(); ++i) PackMap(super.maps[i], &out.map[i]);
  out.crc = Checksum(out, buffer);
  std::memcpy(buffer.data(), &out, sizeof(out));
  return device.Write(SuperblockPlace(copy) * disk::kBlock, buffer);
}

Result<Superblock> ParseSuperblock(std::span<const std::byte> block, uint64_t place,
                                   const std::string& device_name) {
  const std::string where = device_name + ": superblock in block " + std::to_string(place);
  disk::Superblock in;
  if (block.size() < disk::kBlock) return Fail(EBADMSG, where + ": too short");
  std::memcpy(static_cast<void*>(&in), block.data(), sizeof(in));
  if (in.magic != disk::kSuperMagic) return Fail(EMEDIUMTYPE, where + ": not a snapshot store");
  if (in.version < disk::kOldestVersion || in.version > disk::kVersion)
    return Fail(EPROTONOSUPPORT, where + ": format version " + std::to_string(in.version) +
                                     ", this program knows versions up to " +
                                     std::to_string(disk::kVersion));
  if (in.crc != Checksum(in, block.first(disk::kBlock)))
    return Fail(EBADMSG, where + ": wrong checksum");
  if (in.block != place) return Fail(EBADMSG, where + ": belongs elsewhere");
  Superblock out;
  out.version = in.version;
  if (const char* why = Unpack(in, &out)) return Fail(EBADMSG, where + ": " + why);
  return out;
}

Result<FoundSuperblock> ReadSuperblock(BlockDevice& device) {
  std::optional<FoundSuperblock> found;
  std::optional<Error> error;
  std::array<bool, 2> old{};
  for (unsigned copy = 0; copy < 2; ++copy) {
    alignas(disk::kBlock) Buffer buffer;
    const uint64_t place = SuperblockPlace(copy);
    if (device.size() < (place + 1) * disk::kBlock)
      return Fail(EMEDIUMTYPE, device.name() + ": too small for a snapshot store");
    Result<Superblock> parsed = Fail(EIO, "");
    if (Status s = device.Read(place * disk::kBlock, buffer); !s) {
      parsed = Pass(s);
    } else {
      parsed = ParseSuperblock(buffer, place, device.name());
    }
    if (!parsed) {
      // Of two errors the one that says more: damage before "not a store".
      if (!error || error->code == EMEDIUMTYPE) error = parsed.error();
      continue;
    }
    old[copy] = parsed->version < disk::kVersion;
    if (!found || parsed->generation > found->super.generation)
      found = FoundSuperblock{std::move(*parsed), copy, {}, {}};
  }
  if (!found) return std::unexpected(*error);
  found->old = old;
  found->other = error;
  return std::move(*found);
}

bool HasSuperblock(BlockDevice& device) {
  for (unsigned copy = 0; copy < 2; ++copy) {
    alignas(disk::kBlock) Buffer buffer;
    const uint64_t offset = SuperblockPlace(copy) * disk::kBlock;
    if (device.size() < offset + disk::kBlock || !device.Read(offset, buffer)) continue;
    Le64 magic;
    std::memcpy(static_cast<void*>(&magic), buffer.data(), sizeof(magic));
    if (magic == disk::kSuperMagic) return true;
  }
  return false;
}

}  // namespace ddsnap
