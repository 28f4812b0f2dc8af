// SPDX-License-Identifier: GPL-2.0
// What the fuzzers of the store share: a small sound store, damaged copies of
// it, and everything that may be done with one.
#ifndef DDSNAP_TESTS_FUZZ_STORE_IMAGE_H_
#define DDSNAP_TESTS_FUZZ_STORE_IMAGE_H_

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/crc32c.h"
#include "io/mem_device.h"
#include "store/block_cache.h"
#include "store/checker.h"
#include "store/dumper.h"
#include "store/snapstore.h"
#include "store/superblock.h"

namespace ddsnap::fuzz {

using disk::kBlock;
inline constexpr uint64_t kImageSize = 4 << 20;
inline constexpr uint64_t kImageChunks = 300;  // of the origin

inline void Must(bool good) {
  if (!good) std::abort();
}

// Three snapshots, exceptions and private chunks of each, a deletion and a bookmark half done,
// a checkpoint, and a few batches in the journal behind it.
inline std::vector<std::byte> MakeImage() {
  MemDevice device(kImageSize);
  FormatOptions format;
  format.chunk_size = 4096;
  format.origin_size = kImageChunks * 4096;
  format.uuid[0] = 1;
  Must(SnapStore::Format(device, nullptr, format).has_value());
  OpenOptions open;
  open.boot_id[0] = 1;
  auto store = SnapStore::Open(device, nullptr, open);
  Must(store.has_value());
  auto ranges = (*store)->Grant(200);
  Must(ranges.has_value() && ranges->front().count >= 150);
  uint64_t address = ranges->front().address;
  for (Tag tag = 0; tag < 3; ++tag) {
    Must((*store)->Create(tag, 1 + tag).has_value());
    const Epoch epoch = (*store)->epoch();
    for (uint64_t chunk = tag; chunk < 90; chunk += 3) {
      Must((*store)->RecordCopy(chunk, 1, address++).has_value());
    }
    Must((*store)->RecordPrivate(epoch, 200 + tag, 1, address++).has_value());
    Must((*store)->RecordUnreadable(100 + tag, 1, address++).has_value());
    if (tag == 1) Must((*store)->Checkpoint().has_value());
  }
  Must((*store)->Bookmark(2).has_value());
  Must((*store)->Delete(1).has_value());
  Must((*store)->Commit(true).has_value());
  for (int turn = 0; turn < 3; ++turn) {
    Must((*store)->Step().has_value());
    Must((*store)->Commit(true).has_value());
  }
  Must((*store)->SetPriority(2, 5).has_value());
  Must((*store)->AddUsecount(3, 1).has_value());
  Must((*store)->Commit(true).has_value());
  return std::move(device.bytes());
}

inline const std::vector<std::byte>& Image() {
  static const std::vector<std::byte> image = MakeImage();
  return image;
}

// The image with changes: cheap to make, cheap to throw away.
class DamagedImage : public BlockDevice {
 public:
  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) override {
    if (offset > kImageSize || out.size() > kImageSize - offset) return Fail(EIO, "past the end");
    for (uint64_t at = 0; at < out.size(); at += kBlock) {
      std::memcpy(out.data() + at, At((offset + at) / kBlock), kBlock);
    }
    return {};
  }
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) override {
    if (offset > kImageSize || data.size() > kImageSize - offset) return Fail(EIO, "past the end");
    for (uint64_t at = 0; at < data.size(); at += kBlock) {
      std::memcpy(Change((offset + at) / kBlock), data.data() + at, kBlock);
    }
    return {};
  }
  [[nodiscard]] Status Flush() override { return {}; }
  [[nodiscard]] uint64_t size() const override { return kImageSize; }
  [[nodiscard]] const std::string& name() const override { return name_; }

  [[nodiscard]] const std::byte* At(uint64_t block) const {
    const auto it = changed_.find(block);
    return it != changed_.end() ? it->second.data() : Image().data() + block * kBlock;
  }
  // To be changed by the caller.
  [[nodiscard]] std::byte* Change(uint64_t block) {
    auto& bytes = changed_[block];
    if (bytes.empty())
      bytes.assign(Image().data() + block * kBlock, Image().data() + (block + 1) * kBlock);
    return bytes.data();
  }
  // Makes the checksum of a superblock, node, map page or slot table right.
  void Repair(uint64_t block) {
    std::byte* bytes = Change(block);
    Le32 magic;
    std::memcpy(static_cast<void*>(&magic), bytes, 4);
    if (magic == static_cast<uint32_t>(disk::kSuperMagic)) {
      disk::Superblock super;
      std::memcpy(static_cast<void*>(&super), bytes, sizeof super);
      super.crc = 0;
      std::memcpy(bytes, &super, sizeof super);
      super.crc = Crc32c({bytes, kBlock});
      std::memcpy(bytes, &super, sizeof super);
      return;
    }
    disk::BlockHeader header;
    std::memcpy(static_cast<void*>(&header), bytes, sizeof header);
    header.crc = HeaderChecksum({bytes, kBlock});
    std::memcpy(bytes, &header, sizeof header);
  }

 private:
  std::unordered_map<uint64_t, std::vector<std::byte>> changed_;
  const std::string name_ = "image";
};

inline void Look(SnapStore& store) {
  const std::vector<Snapshot> snapshots = store.snapshots();
  for (const Snapshot& snapshot : snapshots) {
    uint64_t chunk = 0;
    while (chunk < kImageChunks) {
      auto runs = store.Lookup(snapshot.epoch, chunk, kImageChunks - chunk, 64);
      if (!runs) break;
      uint64_t next = chunk;
      for (const Run& run : *runs) {  // in order, without gaps, within what was asked for
        Must(run.chunk == next && run.count > 0 && run.count <= kImageChunks - next);
        next += run.count;
      }
      Must(next > chunk);
      chunk = next;
    }
    (void)store.SpaceOf(snapshot.epoch);
    (void)store.Changelist(snapshot.epoch, 0, [](const ChunkRange&) { return true; });
  }
}

inline void Use(SnapStore& store) {
  (void)store.Create(77, 1);
  if (auto ranges = store.Grant(8)) {
    uint64_t chunk = 0;
    for (const Range& range : *ranges) {
      (void)store.RecordCopy(chunk, range.count, range.address);
      chunk += range.count;
    }
  }
  (void)store.Commit(true);
  if (!store.snapshots().empty()) (void)store.Delete(store.snapshots().front().epoch);
  if (!store.snapshots().empty()) (void)store.Bookmark(store.snapshots().back().epoch);
  (void)store.Commit(true);
  for (int i = 0; i < 100; ++i) {
    auto more = store.Step();
    if (!more || !*more) break;
    if (!store.Commit(true)) break;
  }
  (void)store.Checkpoint();
}

// Everything that programs do with a store that may be damaged.
inline void Exercise(DamagedImage& image) {
  (void)CheckStore(image, nullptr);
  (void)DumpStore(image, nullptr, true, [](std::string_view) {});
  OpenOptions options;
  options.boot_id[0] = 1;
  auto store = SnapStore::Open(image, nullptr, options);
  if (!store) return;
  Look(**store);
  Use(**store);
}

// Bytes of the input, zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] uint64_t Number(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && size_ > 0; ++i) {
      value |= uint64_t{*data_++} << (8 * i);
      --size_;
    }
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

// Edits of one block: a place, a width of 1 to 8 bytes, a value.
inline void Edit(DamagedImage& image, uint64_t block, Input& input, unsigned edits) {
  for (; edits > 0 && !input.empty(); --edits) {
    const uint64_t place = input.Number(2);
    const size_t width = size_t{1} << (place >> 12 & 3);
    const uint64_t at = std::min<uint64_t>(place % kBlock / width * width, kBlock - width);
    const uint64_t value = input.Number(width);
    std::memcpy(image.Change(block) + at, &value, width);
  }
}

}  // namespace ddsnap::fuzz

#endif  // DDSNAP_TESTS_FUZZ_STORE_IMAGE_H_
