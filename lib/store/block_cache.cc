// SPDX-License-Identifier: GPL-2.0
#include "store/block_cache.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/crc32c.h"

namespace ddsnap {

uint32_t HeaderChecksum(std::span<const std::byte> block) {
  disk::BlockHeader header;
  std::memcpy(static_cast<void*>(&header), block.data(), sizeof(header));
  header.crc = 0;
  return Crc32c(block.subspan(sizeof(header)), Crc32c(std::as_bytes(std::span(&header, 1))));
}

Result<BlockCache::Ref> BlockCache::Read(uint64_t number) {
  if (auto it = index_.find(number); it != index_.end()) {
    lru_.splice(lru_.begin(), lru_, it->second);
    return lru_.front();
  }
  if (Status s = MakeRoom(); !s) return Pass(s);
  const std::string where = device_.name() + ": tree block " + std::to_string(number);
  auto block = std::make_shared<CachedBlock>();
  block->number = number;
  if (number >= device_.size() / disk::kBlock) return Fail(EBADMSG, where + ": past the end");
  const std::span bytes(block->data, disk::kBlock);
  if (Status s = device_.Read(number * disk::kBlock, bytes); !s) return Pass(s);
  disk::BlockHeader header;
  std::memcpy(static_cast<void*>(&header), block->data, sizeof(header));
  if (header.magic != disk::kNodeMagic) return Fail(EBADMSG, where + ": not a tree block");
  if (std::memcmp(header.uuid, uuid_.data(), 16) != 0)
    return Fail(EBADMSG, where + ": belongs to another store");
  if (header.crc != HeaderChecksum(bytes)) return Fail(EBADMSG, where + ": wrong checksum");
  if (header.block != number) return Fail(EBADMSG, where + ": belongs elsewhere");
  return Insert(std::move(block));
}

Result<BlockCache::Ref> BlockCache::Create(uint64_t number) {
  if (Status s = MakeRoom(); !s) return Pass(s);
  // The number may have been another block's before: that one is gone.
  if (auto it = index_.find(number); it != index_.end()) {
    lru_.erase(it->second);
    index_.erase(it);
  }
  auto block = std::make_shared<CachedBlock>();
  block->number = number;
  block->dirty = true;
  std::memset(block->data, 0, disk::kBlock);
  disk::BlockHeader header;
  std::memset(static_cast<void*>(&header), 0, sizeof(header));
  header.magic = disk::kNodeMagic;
  std::memcpy(header.uuid, uuid_.data(), 16);
  header.block = number;
  std::memcpy(block->data, &header, sizeof(header));
  dirty_.insert(number);
  return Insert(std::move(block));
}

BlockCache::Ref BlockCache::Insert(Ref block) {
  lru_.push_front(std::move(block));
  index_[lru_.front()->number] = lru_.begin();
  return lru_.front();
}

void BlockCache::Forget(uint64_t number) {
  if (frozen_.contains(number)) return;
  dirty_.erase(number);
  if (auto it = index_.find(number); it != index_.end()) {
    lru_.erase(it->second);
    index_.erase(it);
  }
}

void BlockCache::Freeze() {
  frozen_.merge(dirty_);
  dirty_.clear();
}

Result<bool> BlockCache::WriteFrozen(size_t max) {
  while (max > 0 && !frozen_.empty()) {
    size_t written = 0;
    if (Status s = WriteRun(frozen_, frozen_.begin(), max, &written); !s) return Pass(s);
    max -= written;
  }
  return !frozen_.empty();
}

// Writes dirty blocks from `first` on as long as they are neighbours, in one
// write.
Status BlockCache::WriteRun(std::set<uint64_t>& from, std::set<uint64_t>::iterator first,
                            size_t max, size_t* written) {
  constexpr size_t kMaxRun = 64;
  const uint64_t start = *first;
  size_t count = 0;
  for (auto it = first; it != from.end() && *it == start + count && count < max && count < kMaxRun;
       ++it)
    ++count;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> run(
      static_cast<std::byte*>(
          ::operator new[](count * disk::kBlock, std::align_val_t{disk::kBlock})),
      [](std::byte* p) { ::operator delete[](p, std::align_val_t{disk::kBlock}); });
  for (size_t i = 0; i < count; ++i) {
    CachedBlock& block = **index_.at(start + i);
    disk::BlockHeader header;
    std::memcpy(static_cast<void*>(&header), block.data, sizeof(header));
    header.crc = HeaderChecksum({block.data, disk::kBlock});
    std::memcpy(block.data, &header, sizeof(header));
    std::memcpy(run.get() + i * disk::kBlock, block.data, disk::kBlock);
  }
  if (Status s = device_.Write(start * disk::kBlock, {run.get(), count * disk::kBlock}); !s)
    return s;
  for (size_t i = 0; i < count; ++i) {
    (*index_.at(start + i))->dirty = false;
    from.erase(start + i);
  }
  *written = count;
  return {};
}

Status BlockCache::MakeRoom() {
  if (index_.size() < max_blocks_) return {};
  // From the least recently used on; blocks in use by the operation stay.
  auto it = lru_.end();
  size_t looked = 0;
  while (it != lru_.begin() && index_.size() >= max_blocks_ && ++looked <= 64) {
    --it;
    CachedBlock& block = **it;
    if (it->use_count() > 1) continue;
    if (block.dirty) {
      if (!write_back_) continue;
      auto& set = frozen_.contains(block.number) ? frozen_ : dirty_;
      size_t written = 0;
      if (Status s = WriteRun(set, set.find(block.number), 64, &written); !s) return s;
    }
    index_.erase(block.number);
    it = lru_.erase(it);
  }
  return {};
}

}  // namespace ddsnap
