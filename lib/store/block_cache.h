// SPDX-License-Identifier: GPL-2.0
// Cached metadata blocks, bounded in number.
//
// Invariant: a block that is changed here is one that no durable superblock
// leads to (the transaction sees to that), so dirty blocks may be written at any
// time and in any order.  Those that the checkpoint under way needs are
// "frozen": they do not change any more and are all written before its superblock.
#ifndef DDSNAP_STORE_BLOCK_CACHE_H_
#define DDSNAP_STORE_BLOCK_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <new>
#include <set>
#include <span>
#include <unordered_map>

#include "base/chunk.h"
#include "base/status.h"
#include "io/block_device.h"
#include "store/disk_format.h"

namespace ddsnap {

// The checksum of a block with a BlockHeader, as it has to stand there.
[[nodiscard]] uint32_t HeaderChecksum(std::span<const std::byte> block);

struct CachedBlock {
  uint64_t number = 0;
  std::byte* data = nullptr;  // kBlock bytes, aligned
  bool dirty = false;
  bool checked = false;  // its entries have been looked at
  CachedBlock() : data(static_cast<std::byte*>(::operator new[](disk::kBlock, std::align_val_t{disk::kBlock}))) {}
  CachedBlock(const CachedBlock&) = delete;
  CachedBlock& operator=(const CachedBlock&) = delete;
  ~CachedBlock() { ::operator delete[](data, std::align_val_t{disk::kBlock}); }
};

class BlockCache {
 public:
  using Ref = std::shared_ptr<CachedBlock>;  // held only during one operation

  // `write_back` false: dirty blocks stay in memory for ever (read-only stores).
  BlockCache(BlockDevice& device, const Uuid& uuid, size_t max_blocks, bool write_back)
      : device_(device), uuid_(uuid), max_blocks_(max_blocks), write_back_(write_back) {}

  // A tree node, checked: magic, uuid, checksum, own number.
  [[nodiscard]] Result<Ref> Read(uint64_t number);
  // A new block, zeroed and dirty.
  [[nodiscard]] Result<Ref> Create(uint64_t number);
  // To be called before a block is changed: it is written again.
  void MarkDirty(CachedBlock& block) {
    block.dirty = true;
    dirty_.insert(block.number);
  }
  // Drops a block that was freed, unless the checkpoint under way needs it.
  void Forget(uint64_t number);

  void Freeze();  // all dirty blocks now belong to the checkpoint under way
  // Writes up to `max` frozen blocks; returns whether there are more.
  [[nodiscard]] Result<bool> WriteFrozen(size_t max);
  [[nodiscard]] size_t dirty() const { return dirty_.size(); }

 private:
  using Lru = std::list<Ref>;
  [[nodiscard]] Status MakeRoom();
  [[nodiscard]] Status WriteRun(std::set<uint64_t>& from, std::set<uint64_t>::iterator first,
                                size_t max, size_t* written);
  Ref Insert(Ref block);

  BlockDevice& device_;
  const Uuid uuid_;
  const size_t max_blocks_;
  const bool write_back_;
  Lru lru_;  // most recently used first
  std::unordered_map<uint64_t, Lru::iterator> index_;
  std::set<uint64_t> dirty_;   // changed in the current generation
  std::set<uint64_t> frozen_;  // of the checkpoint under way, not written yet
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_BLOCK_CACHE_H_
