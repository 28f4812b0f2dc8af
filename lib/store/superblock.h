// SPDX-License-Identifier: GPL-2.0
// The superblock: where everything is, as of one checkpoint.
#ifndef DDSNAP_STORE_SUPERBLOCK_H_
#define DDSNAP_STORE_SUPERBLOCK_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "io/block_device.h"
#include "store/disk_format.h"

namespace ddsnap {

struct TreeRoot {
  uint64_t block = 0;  // 0: empty
  uint64_t entries = 0;
  uint32_t height = 0;
};

struct MapLayout {
  struct Segment {
    uint64_t block = 0;
    uint64_t pages = 0;
  };
  uint64_t units = 0;
  uint64_t unit_bytes = 0;
  uint64_t free_units = 0;
  uint64_t slot_blocks = 0;
  std::array<uint64_t, 2> slots{};
  std::vector<Segment> segments;
  [[nodiscard]] uint64_t pages() const {
    return (units + disk::kBitsPerPage - 1) / disk::kBitsPerPage;
  }
};

struct Superblock {
  Uuid uuid{};
  uint64_t generation = 0;
  uint32_t chunk_bytes = 0;
  bool separate = false;
  uint64_t origin_bytes = 0;
  uint64_t store_bytes = 0;
  uint64_t meta_bytes = 0;
  Epoch epoch = 0;
  uint64_t created_ns = 0;
  uint64_t tree_blocks = 0;
  uint64_t journal_block = 0;
  uint64_t journal_blocks = 0;
  uint64_t journal_position = 0;
  uint64_t journal_sequence = 0;
  Uuid boot_id{};
  bool attached = false;
  std::array<TreeRoot, disk::kTrees> roots{};
  std::vector<MapLayout> maps;
  Epoch reverting = 0;  // the origin is being brought back to that snapshot
  uint32_t version = disk::kVersion;  // that was read; what is written is always the newest
};

// Block number of copy 0 or 1.
[[nodiscard]] constexpr uint64_t SuperblockPlace(unsigned copy) {
  return copy == 0 ? disk::kFirstSuper : disk::kSecondSuper;
}

// Writes `super` as copy 0 or 1; not durable before a flush.
[[nodiscard]] Status WriteSuperblock(BlockDevice& device, unsigned copy, const Superblock& super);

// One copy, checked in this order, each with its own message: magic, version,
// checksum, place, contents.  Parses any 4096 bytes without harm.
[[nodiscard]] Result<Superblock> ParseSuperblock(std::span<const std::byte> block, uint64_t place,
                                                 const std::string& device_name);

struct FoundSuperblock {
  Superblock super;
  unsigned copy = 0;
  std::array<bool, 2> old{};   // which copies are good and of an earlier version
  std::optional<Error> other;  // what is wrong with the other copy, if anything is
};
// The valid copy with the higher generation.
[[nodiscard]] Result<FoundSuperblock> ReadSuperblock(BlockDevice& device);

// Whether either copy has the magic, whatever its version or state.
[[nodiscard]] bool HasSuperblock(BlockDevice& device);

}  // namespace ddsnap

#endif  // DDSNAP_STORE_SUPERBLOCK_H_
