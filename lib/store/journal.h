// SPDX-License-Identifier: GPL-2.0
// The journal: a ring of batches of records on the metadata device.
//
// A batch is written only after the one before it has been flushed.  So at
// most one batch, the last, can be torn, and replay may end at the first batch that is
// not whole; if a whole one with a later number lies beyond, then the ring is
// damaged, acknowledged changes are missing, and the store is refused.
#ifndef DDSNAP_STORE_JOURNAL_H_
#define DDSNAP_STORE_JOURNAL_H_

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "io/block_device.h"
#include "store/disk_format.h"

namespace ddsnap {

class Journal {
 public:
  // The ring is [block, block+blocks) of `device`; `position` and `sequence` are
  // where the next batch goes (before Replay: where the first one is).
  Journal(BlockDevice& device, const Uuid& uuid, uint64_t block, uint64_t blocks,
          uint64_t position, uint64_t sequence)
      : device_(device), uuid_(uuid), block_(block), blocks_(blocks), position_(position),
        sequence_(sequence), tail_(position) {}

  // ---- recovery
  using Visitor = std::function<Status(uint16_t type, uint16_t flags, std::span<const std::byte>)>;
  // Calls `visit` for every record of every whole batch, in order, and then stands behind the last.
  [[nodiscard]] Status Replay(const Visitor& visit);

  // ---- writing
  template <typename T>
  void Append(disk::RecordType type, std::span<const T> items, uint16_t flags = 0) {
    Append(type, flags, std::as_bytes(items));
  }
  template <typename T>
  void Append(disk::RecordType type, const T& item, uint16_t flags = 0) {
    Append(type, flags, std::as_bytes(std::span(&item, 1)));
  }
  void Append(disk::RecordType type, uint16_t flags, std::span<const std::byte> payload);

  [[nodiscard]] bool empty() const { return records_ == 0; }
  // Blocks that the open batch will take.
  [[nodiscard]] uint64_t batch_blocks() const;
  // Writes the open batch and flushes.  ENOSPC: the ring is full; release first.
  [[nodiscard]] Status Commit();

  // ---- the ring
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t sequence() const { return sequence_; }
  [[nodiscard]] uint64_t blocks() const { return blocks_; }
  [[nodiscard]] uint64_t used() const { return position_ - tail_; }
  // Everything before `position` belongs to a durable checkpoint.
  void Release(uint64_t position) { tail_ = position; }

 private:
  [[nodiscard]] Status ReadAt(uint64_t position, std::span<std::byte> out);
  [[nodiscard]] Status WriteAt(uint64_t position, std::span<const std::byte> data);
  // The whole batch at `position` in `out`, or false if there is none with `sequence`.
  [[nodiscard]] Result<bool> ReadBatch(uint64_t position, uint64_t sequence, uint64_t room,
                                       std::vector<std::byte>& out);
  [[nodiscard]] Status VisitBatch(std::span<const std::byte> batch, const Visitor& visit);
  [[nodiscard]] Status LookBeyond();

  BlockDevice& device_;
  const Uuid uuid_;
  const uint64_t block_;
  const uint64_t blocks_;
  uint64_t position_;
  uint64_t sequence_;
  uint64_t tail_;
  std::vector<std::byte> batch_;  // records of the open batch
  uint32_t records_ = 0;
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_JOURNAL_H_
