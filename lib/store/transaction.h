// SPDX-License-Identifier: GPL-2.0
// The only way to change tree blocks.  A block born in the current generation is
// changed in place; an older one, to which a durable or frozen superblock may
// lead, is copied to a new place first (shadowed), and its old place is pinned.
#ifndef DDSNAP_STORE_TRANSACTION_H_
#define DDSNAP_STORE_TRANSACTION_H_

#include <cstdint>

#include "base/status.h"
#include "store/block_cache.h"
#include "store/space_map.h"

namespace ddsnap {

class Transaction {
 public:
  // `map` counts blocks of the device that `cache` caches.
  Transaction(BlockCache& cache, SpaceMap& map, uint64_t generation)
      : cache_(cache), map_(map), generation_(generation) {}

  [[nodiscard]] uint64_t generation() const { return generation_; }
  // Blocks made since the last freeze: what a checkpoint will have to write.
  [[nodiscard]] uint64_t made() const { return made_; }
  [[nodiscard]] uint64_t in_use() const { return in_use_; }
  void set_in_use(uint64_t blocks) { in_use_ = blocks; }

  [[nodiscard]] Result<BlockCache::Ref> Read(uint64_t block) { return cache_.Read(block); }
  [[nodiscard]] Result<BlockCache::Ref> New();
  // The block itself, to be changed, or its copy in a new place.
  [[nodiscard]] Result<BlockCache::Ref> Shadow(uint64_t block);
  [[nodiscard]] Status Free(uint64_t block);

  // Everything so far belongs to the checkpoint; what follows to the next generation.
  void Freeze() {
    cache_.Freeze();
    map_.Freeze();
    ++generation_;
    made_ = 0;
  }

 private:
  BlockCache& cache_;
  SpaceMap& map_;
  uint64_t generation_;
  uint64_t made_ = 0;
  uint64_t in_use_ = 0;  // tree blocks
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_TRANSACTION_H_
