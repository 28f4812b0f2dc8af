// SPDX-License-Identifier: GPL-2.0
// Formatting and opening.
#include "store/snapstore.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

using disk::kBlock;

constexpr uint64_t kMinJournalBlocks = 64;
constexpr uint64_t kMaxJournalBlocks = 65536;
constexpr uint64_t kMinTreeBlocks = 192;
// What the trees need for a chunk when the store is full: 24 bytes in the
// exceptions, 16 in the labels, nodes two thirds full, and room to spare.
constexpr uint64_t kTreeBytesPerChunk = 96;

// Slot tables have room for maps eight times as large: stores grow.
MapLayout PlanMap(uint64_t units, uint64_t unit_bytes, uint64_t* next) {
  MapLayout map;
  map.units = units;
  map.unit_bytes = unit_bytes;
  map.slot_blocks = (map.pages() * 8 + disk::kBitsPerPage - 1) / disk::kBitsPerPage;
  for (uint64_t& slots : map.slots) {
    slots = *next;
    *next += map.slot_blocks;
  }
  map.segments.push_back({*next, map.pages()});
  *next += 2 * map.pages();
  return map;
}

uint64_t JournalBlocks(uint64_t wanted_bytes, uint64_t device_blocks) {
  const uint64_t blocks = wanted_bytes != 0 ? wanted_bytes / kBlock : device_blocks / 64;
  const uint64_t most = wanted_bytes != 0 ? kMaxJournalBlocks : kMaxJournalBlocks / 16;
  return std::clamp(blocks, kMinJournalBlocks, most);
}

Status MakeUuid(Uuid* uuid) {
  if (*uuid != Uuid{}) return {};
  if (getrandom(uuid->data(), uuid->size(), 0) != static_cast<ssize_t>(uuid->size()))
    return FailErrno(errno, "random number for the volume's UUID");
  (*uuid)[6] = ((*uuid)[6] & 0x0f) | 0x40;  // RFC 9562: version 4, variant 1
  (*uuid)[8] = ((*uuid)[8] & 0x3f) | 0x80;
  return {};
}

struct Layout {
  uint64_t fixed_blocks = 0;     // in use in the empty store
  uint64_t metadata_chunks = 0;  // that the metadata takes from the store device
};

Result<Superblock> Plan(const BlockDevice& store, const BlockDevice* meta,
                        const FormatOptions& options, Layout* plan) {
  Superblock super;
  const BlockDevice& home = meta != nullptr ? *meta : store;
  if (options.chunk_size < kMinChunkSize || options.chunk_size > kMaxChunkSize ||
      !std::has_single_bit(options.chunk_size))
    return Fail(EINVAL, "chunk size: must be a power of two from 4K to 1M");
  if (options.origin_size == 0) return Fail(EINVAL, "origin: empty");
  super.uuid = options.uuid;
  if (Status s = MakeUuid(&super.uuid); !s) return Pass(s);
  super.generation = 1;
  super.chunk_bytes = options.chunk_size;
  super.separate = meta != nullptr;
  super.origin_bytes = options.origin_size;
  super.store_bytes = store.size();
  super.meta_bytes = home.size();
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  super.created_ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 +
                     static_cast<uint64_t>(now.tv_nsec);
  super.journal_sequence = 1;

  const uint64_t blocks = home.size() / kBlock;
  uint64_t next = disk::kSecondSuper + 1;
  if (blocks < kMinJournalBlocks * 4)
    return Fail(ENOSPC, home.name() + ": too small: at least 1 MiB is needed");
  const uint64_t chunks = store.size() / options.chunk_size;
  const uint64_t trees = std::max(
      kMinTreeBlocks, chunks * kTreeBytesPerChunk / kBlock + std::min<uint64_t>(blocks / 16, 8192));
  super.maps.push_back(PlanMap(blocks, kBlock, &next));
  super.maps.push_back(PlanMap(std::max<uint64_t>(chunks, 1), options.chunk_size, &next));
  super.journal_block = next;
  super.journal_blocks = JournalBlocks(options.journal_size, blocks);
  next += super.journal_blocks;
  plan->fixed_blocks = next;
  // A metadata device is all metadata; else its part is the store's beginning.
  const uint64_t per_chunk = options.chunk_size / kBlock;
  const uint64_t area = super.separate ? blocks : (next + trees + per_chunk - 1) / per_chunk * per_chunk;
  plan->metadata_chunks = super.separate ? 0 : area / per_chunk;
  if (next + kMinTreeBlocks > blocks || area > blocks || plan->metadata_chunks + 16 > chunks)
    return Fail(ENOSPC, home.name() + ": too small: at least " +
                            std::to_string((area + 16 * per_chunk) * kBlock / 1024) +
                            " KiB are needed");
  super.maps[0].units = area;
  super.maps[0].free_units = area - next;
  super.maps[1].free_units = chunks - plan->metadata_chunks;
  return super;
}

}  // namespace

Status SnapStore::Format(BlockDevice& store, BlockDevice* meta, const FormatOptions& options) {
  Layout plan;
  auto super = Plan(store, meta, options, &plan);
  if (!super) return Pass(super);
  BlockDevice& home = meta != nullptr ? *meta : store;
  // First nothing is a store any more, then all of the new one but its
  // superblocks is durable, then they are: a power cut leaves no half store.
  alignas(kBlock) std::array<std::byte, kBlock> zero{};
  for (BlockDevice* device : {&store, &home}) {
    for (unsigned copy = 0; copy < 2; ++copy)
      if (Status s = device->Write(SuperblockPlace(copy) * kBlock, zero); !s) return s;
    if (Status s = device->Flush(); !s) return s;
  }
  const uint64_t used[] = {plan.fixed_blocks, plan.metadata_chunks};
  for (size_t i = 0; i < 2; ++i)
    if (Status s = SpaceMap::Format(home, super->uuid, super->maps[i], used[i]); !s) return s;
  if (Status s = home.Flush(); !s) return s;
  for (unsigned copy = 0; copy < 2; ++copy)
    if (Status s = WriteSuperblock(home, copy, *super); !s) return s;
  return home.Flush();
}

bool SnapStore::IsFormatted(BlockDevice& device) { return HasSuperblock(device); }

Result<std::unique_ptr<SnapStore>> SnapStore::Open(BlockDevice& store, BlockDevice* meta,
                                                   const OpenOptions& options) {
  auto impl = std::make_unique<SnapStoreImpl>(store, meta, options);
  if (Status s = impl->Recover(); !s) return Pass(s);
  return impl;
}

}  // namespace ddsnap
