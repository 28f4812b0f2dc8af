// SPDX-License-Identifier: GPL-2.0
#include "store/transaction.h"

#include <cerrno>
#include <cstring>

namespace ddsnap {
namespace {

uint64_t Born(const CachedBlock& block) {
  disk::BlockHeader header;
  std::memcpy(static_cast<void*>(&header), block.data, sizeof(header));
  return header.generation;
}

void SetBorn(CachedBlock& block, uint64_t generation) {
  disk::BlockHeader header;
  std::memcpy(static_cast<void*>(&header), block.data, sizeof(header));
  header.generation = generation;
  std::memcpy(block.data, &header, sizeof(header));
}

}  // namespace

Result<BlockCache::Ref> Transaction::New() {
  auto place = map_.AllocateUp(1);
  if (!place) return Pass(place);
  if (!*place) return Fail(ENOSPC, "no space left for metadata");
  auto block = cache_.Create((*place)->start);
  if (!block) return Pass(block);
  SetBorn(**block, generation_);
  ++made_;
  ++in_use_;
  return block;
}

Result<BlockCache::Ref> Transaction::Shadow(uint64_t block) {
  auto old = cache_.Read(block);
  if (!old) return Pass(old);
  if (Born(**old) == generation_) {
    cache_.MarkDirty(**old);
    return old;
  }
  auto copy = New();
  if (!copy) return Pass(copy);
  // All but the common header, which New has filled in.
  std::memcpy((*copy)->data + sizeof(disk::BlockHeader), (*old)->data + sizeof(disk::BlockHeader),
              disk::kBlock - sizeof(disk::BlockHeader));
  if (Status s = Free(block); !s) return Pass(s);
  return copy;
}

Status Transaction::Free(uint64_t block) {
  auto old = cache_.Read(block);
  if (!old) return Pass(old);
  const bool pin = Born(**old) != generation_;
  if (Status s = map_.Clear(block, 1, pin); !s) return s;
  cache_.Forget(block);
  --in_use_;
  return {};
}

}  // namespace ddsnap
