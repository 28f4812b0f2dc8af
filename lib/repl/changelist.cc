// SPDX-License-Identifier: GPL-2.0
#include "repl/changelist.h"

#include <array>
#include <cerrno>

namespace ddsnap::repl {

Status ChangelistWriter::Begin() {
  if (begun_) return {};
  begun_ = true;
  return records_.PutStruct(kHead, PackHead(head_));
}

Status ChangelistWriter::Add(const ChunkRange& range) {
  if (Status s = Begin(); !s) return s;
  if (range.count == 0) return {};
  if (range.count > kMaxSize || range.chunk > kMaxSize - range.count) {
    return Fail(EINVAL, "changelist: range at chunk " + std::to_string(range.chunk) + " too large");
  }
  if (pending_ && pending_->chunk + pending_->count == range.chunk) {
    pending_->count += range.count;
    return {};
  }
  if (pending_ && range.chunk < pending_->chunk + pending_->count) {
    return Fail(EINVAL, "changelist: range at chunk " + std::to_string(range.chunk) +
                            " out of order");
  }
  if (Status s = PutPending(); !s) return s;
  pending_ = range;
  return {};
}

Status ChangelistWriter::PutPending() {
  if (!pending_) return {};
  full_.push_back({pending_->chunk, pending_->count});
  ++ranges_;
  chunks_ += pending_->count;
  pending_.reset();
  return full_.size() == kRangesPerRecord ? PutRecord() : Status();
}

Status ChangelistWriter::PutRecord() {
  Status s = records_.Put(kRanges, std::as_bytes(std::span(full_)));
  full_.clear();
  return s;
}

Status ChangelistWriter::Finish() {
  if (Status s = Begin(); !s) return s;
  if (Status s = PutPending(); !s) return s;
  if (!full_.empty()) {
    if (Status s = PutRecord(); !s) return s;
  }
  return records_.PutStruct(kEnd, RawEnd{ranges_, chunks_});
}

Result<ChangelistReader> ChangelistReader::Open(ByteSource& source) {
  ChangelistReader reader(source);
  if (Status s = reader.ReadHead(); !s) return Pass(s);
  return reader;
}

Status ChangelistReader::ReadHead() {
  static constexpr std::array kFirst = {kHead};
  if (Status s = records_.Next(kFirst, &record_); !s) return s;
  RawChangelistHead raw;
  if (!GetStruct(record_.body, &raw) || !record_.payload.empty()) {
    return records_.Damaged(record_.offset, "head of impossible size");
  }
  auto head = UnpackHead(raw, record_, records_);
  if (!head) return Pass(head);
  if (head->base.none) return records_.Damaged(record_.offset, "changelist without a base");
  head_ = *head;
  at_ = record_.body.size();
  return {};
}

Result<std::optional<ChunkRange>> ChangelistReader::Next() {
  static constexpr std::array kRest = {kRanges, kEnd};
  if (ended_) return std::nullopt;
  while (at_ == record_.body.size()) {
    if (Status s = records_.Next(kRest, &record_); !s) return Pass(s);
    if (!record_.payload.empty()) return records_.Damaged(record_.offset, "unexpected payload");
    if (record_.type == kEnd) {
      if (Status s = TakeEnd(); !s) return Pass(s);
      return std::nullopt;
    }
    if (record_.body.size() % sizeof(RawRange) != 0) {
      return records_.Damaged(record_.offset, "ranges of impossible size");
    }
    at_ = 0;
  }
  const uint64_t place = record_.offset + sizeof(RawRecord) + at_;
  RawRange raw;
  std::memcpy(&raw, record_.body.data() + at_, sizeof raw);
  at_ += sizeof raw;
  const ChunkRange range{raw.chunk, raw.count};
  const bool first = ranges_ == 0;
  // "Touching" would be harmless, but is not what a writer makes.
  if (range.count == 0 || range.count > kMaxSize || range.chunk > kMaxSize - range.count ||
      (!first && range.chunk <= end_)) {
    return records_.Damaged(place, "impossible range");
  }
  end_ = range.chunk + range.count;
  ++ranges_;
  chunks_ += range.count;
  return range;
}

Status ChangelistReader::TakeEnd() {
  RawEnd raw;
  if (!GetStruct(record_.body, &raw)) {
    return records_.Damaged(record_.offset, "end of impossible size");
  }
  if (raw.count != ranges_ || raw.amount != chunks_) {
    return records_.Damaged(record_.offset, "counts do not match");
  }
  ended_ = true;
  return records_.AtEnd();
}

}  // namespace ddsnap::repl
