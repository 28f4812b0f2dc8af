// SPDX-License-Identifier: GPL-2.0
#include "store/journal.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/crc32c.h"

namespace ddsnap {
namespace {

using disk::kBlock;
constexpr size_t kHeader = sizeof(disk::BatchHeader);

uint32_t BatchChecksum(disk::BatchHeader header, std::span<const std::byte> batch) {
  header.crc = 0;
  return Crc32c(batch.subspan(kHeader), Crc32c(std::as_bytes(std::span(&header, 1))));
}

uint64_t BlocksFor(uint64_t record_bytes) { return (kHeader + record_bytes + kBlock - 1) / kBlock; }

}  // namespace

Status Journal::ReadAt(uint64_t position, std::span<std::byte> out) {
  while (!out.empty()) {
    const uint64_t at = position % blocks_;
    const size_t n = std::min<size_t>(out.size(), (blocks_ - at) * kBlock);
    if (Status s = device_.Read((block_ + at) * kBlock, out.first(n)); !s) return s;
    out = out.subspan(n);
    position += n / kBlock;
  }
  return {};
}

Status Journal::WriteAt(uint64_t position, std::span<const std::byte> data) {
  while (!data.empty()) {
    const uint64_t at = position % blocks_;
    const size_t n = std::min<size_t>(data.size(), (blocks_ - at) * kBlock);
    if (Status s = device_.Write((block_ + at) * kBlock, data.first(n)); !s) return s;
    data = data.subspan(n);
    position += n / kBlock;
  }
  return {};
}

Result<bool> Journal::ReadBatch(uint64_t position, uint64_t sequence, uint64_t room,
                                std::vector<std::byte>& out) {
  out.resize(kBlock);
  if (Status s = ReadAt(position, out); !s) return Pass(s);
  disk::BatchHeader header;
  std::memcpy(static_cast<void*>(&header), out.data(), kHeader);
  if (header.magic != disk::kBatchMagic || header.sequence != sequence ||
      header.position != position || std::memcmp(header.uuid, uuid_.data(), 16) != 0)
    return false;
  const uint64_t blocks = BlocksFor(header.length);
  if (blocks > room) return false;
  out.resize(blocks * kBlock);
  if (Status s = ReadAt(position, out); !s) return Pass(s);
  return header.crc == BatchChecksum(header, out);
}

Status Journal::VisitBatch(std::span<const std::byte> batch, const Visitor& visit) {
  disk::BatchHeader header;
  std::memcpy(static_cast<void*>(&header), batch.data(), kHeader);
  const std::string where = device_.name() + ": journal batch " + std::to_string(header.sequence);
  std::span<const std::byte> records = batch.subspan(kHeader, header.length);
  for (uint32_t i = 0; i < header.records; ++i) {
    disk::RecordHeader record;
    if (records.size() < sizeof(record)) return Fail(EBADMSG, where + ": a record is cut off");
    std::memcpy(static_cast<void*>(&record), records.data(), sizeof(record));
    records = records.subspan(sizeof(record));
    if (record.length > records.size()) return Fail(EBADMSG, where + ": a record is cut off");
    if (Status s = visit(record.type, record.flags, records.first(record.length)); !s)
      return Fail(s.error().code, where + ": " + s.error().text);
    records = records.subspan(record.length);
  }
  if (!records.empty()) return Fail(EBADMSG, where + ": bytes behind the last record");
  return {};
}

Status Journal::Replay(const Visitor& visit) {
  const uint64_t start = position_;
  std::vector<std::byte> batch;
  for (;;) {
    const uint64_t room = blocks_ - (position_ - start);
    if (room == 0) break;
    auto whole = ReadBatch(position_, sequence_, room, batch);
    if (!whole) return Pass(whole);
    if (!*whole) break;
    if (Status s = VisitBatch(batch, visit); !s) return s;
    position_ += batch.size() / kBlock;
    ++sequence_;
  }
  tail_ = start;
  return LookBeyond();
}

// A whole batch with a later number in the rest of the ring was acknowledged, and
// something before it is missing.
Status Journal::LookBeyond() {
  std::vector<std::byte> batch(kBlock);
  const uint64_t room = blocks_ - (position_ - tail_);
  for (uint64_t i = 1; i < room; ++i) {
    if (Status s = ReadAt(position_ + i, batch); !s) return s;
    disk::BatchHeader header;
    std::memcpy(static_cast<void*>(&header), batch.data(), kHeader);
    if (header.magic != disk::kBatchMagic || header.sequence <= sequence_ ||
        header.position != position_ + i || std::memcmp(header.uuid, uuid_.data(), 16) != 0)
      continue;
    auto whole = ReadBatch(position_ + i, header.sequence, room - i, batch);
    if (!whole) return Pass(whole);
    if (*whole)
      return Fail(EBADMSG, device_.name() + ": journal: batch " + std::to_string(sequence_) +
                               " in block " + std::to_string(block_ + position_ % blocks_) +
                               " is damaged, but later batches exist");
    batch.resize(kBlock);
  }
  return {};
}

void Journal::Append(disk::RecordType type, uint16_t flags, std::span<const std::byte> payload) {
  disk::RecordHeader record;
  record.type = static_cast<uint16_t>(type);
  record.flags = flags;
  record.length = static_cast<uint32_t>(payload.size());
  const auto header = std::as_bytes(std::span(&record, 1));
  batch_.insert(batch_.end(), header.begin(), header.end());
  batch_.insert(batch_.end(), payload.begin(), payload.end());
  ++records_;
}

uint64_t Journal::batch_blocks() const { return records_ == 0 ? 0 : BlocksFor(batch_.size()); }

Status Journal::Commit() {
  const uint64_t blocks = batch_blocks();
  if (blocks > blocks_ - used()) return Fail(ENOSPC, device_.name() + ": journal: full");
  const size_t bytes = blocks * kBlock;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> out(
      static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{kBlock})),
      [](std::byte* p) { ::operator delete[](p, std::align_val_t{kBlock}); });
  std::memset(out.get(), 0, bytes);
  disk::BatchHeader header;
  std::memset(static_cast<void*>(&header), 0, kHeader);
  header.magic = disk::kBatchMagic;
  std::memcpy(header.uuid, uuid_.data(), 16);
  header.sequence = sequence_;
  header.position = position_;
  header.length = static_cast<uint32_t>(batch_.size());
  header.records = records_;
  std::memcpy(out.get() + kHeader, batch_.data(), batch_.size());
  header.crc = BatchChecksum(header, {out.get(), bytes});
  std::memcpy(out.get(), &header, kHeader);
  if (Status s = WriteAt(position_, {out.get(), bytes}); !s) return s;
  if (Status s = device_.Flush(); !s) return s;
  position_ += blocks;
  ++sequence_;
  batch_.clear();
  records_ = 0;
  return {};
}

}  // namespace ddsnap
