// SPDX-License-Identifier: GPL-2.0
#include "repl/verify_stream.h"

#include <array>
#include <bit>

namespace ddsnap::repl {

bool IsSane(const SumRange& range, uint64_t size) {
  if (!std::has_single_bit(range.unit) || range.unit < kMinChunkSize || range.unit > kMaxExtent)
    return false;
  if (range.length == 0 || range.offset > size || range.length > size - range.offset) return false;
  if (range.offset % range.unit != 0 || range.count() > kMaxSums) return false;
  return range.length % range.unit == 0 || range.end() == size;
}

Status VerifyWriter::Begin() {
  return records_.PutStruct(kHead,
                            RawVerifyHead{PackHead(head_.what), head_.mend ? kToMend : kToCompare});
}

Status VerifyWriter::Ask(const SumRange& range) {
  return records_.PutStruct(kAskRecord, RawSumRange{range.offset, range.length, range.unit});
}

Status VerifyWriter::Mend(uint64_t offset, std::span<const std::byte> content) {
  RawExtent raw{};
  raw.offset = offset;
  raw.length = static_cast<uint32_t>(content.size());
  raw.base_sum = Checksum(std::span<const std::byte>());
  raw.target_sum = raw.payload_sum = Checksum(content);
  ++extents_;
  bytes_ += content.size();
  return records_.PutStruct(kExtent, raw, content);
}

Status VerifyWriter::Finish() { return records_.PutStruct(kEnd, RawEnd{extents_, bytes_}); }

Result<VerifyReader> VerifyReader::Open(ByteSource& source) {
  VerifyReader reader(source);
  if (Status s = reader.ReadHead(); !s) return Pass(s);
  return reader;
}

Status VerifyReader::ReadHead() {
  static constexpr std::array kFirst = {kHead};
  Record record;
  if (Status s = records_.Next(kFirst, &record); !s) return s;
  RawVerifyHead raw;
  if (!GetStruct(record.body, &raw) || !record.payload.empty())
    return records_.Damaged(record.offset, "impossible size of the head");
  auto what = UnpackHead(raw.what, record, records_);
  if (!what) return Pass(what);
  if (raw.purpose > kToMend) return records_.Damaged(record.offset, "impossible purpose");
  head_ = {.what = *what, .mend = raw.purpose == kToMend};
  return {};
}

Status VerifyReader::Next(VerifyRequest* request) {
  static constexpr std::array kCompare = {kAskRecord, kEnd};
  static constexpr std::array kMend = {kAskRecord, kEnd, kExtent};
  const std::span<const uint32_t> known = head_.mend ? std::span<const uint32_t>(kMend) : kCompare;
  if (Status s = records_.Next(known, &request->record); !s) return s;
  const Record& record = request->record;
  if (record.type == kExtent) return TakeMend(*request);
  if (!record.payload.empty()) return records_.Damaged(record.offset, "unexpected payload");
  return record.type == kEnd ? TakeEnd(*request) : TakeAsk(*request);
}

Status VerifyReader::TakeAsk(VerifyRequest& request) const {
  request.kind = VerifyRequest::Kind::kAsked;
  RawSumRange raw;
  if (!GetStruct(request.record.body, &raw))
    return records_.Damaged(request.record.offset, "impossible size");
  request.range = {.offset = raw.offset, .length = raw.length, .unit = raw.unit};
  if (IsSane(request.range, head_.what.target.size)) return {};
  return records_.Damaged(request.record.offset, "impossible range");
}

Status VerifyReader::TakeMend(VerifyRequest& request) {
  request.kind = VerifyRequest::Kind::kContent;
  const Record& record = request.record;
  RawExtent raw;
  if (!GetStruct(record.body, &raw) || raw.kind != 0 || raw.base_length != 0)
    return records_.Damaged(record.offset, "impossible extent");
  const uint64_t offset = raw.offset, size = head_.what.target.size;
  const uint64_t chunk = head_.what.chunk_size;
  const uint32_t length = raw.length;
  if (length == 0 || length != record.payload.size() || offset > size || length > size - offset ||
      offset % chunk != 0 || (length % chunk != 0 && offset + length != size))
    return records_.Damaged(record.offset, "impossible place of an extent");
  if (Checksum(record.payload) != raw.payload_sum || raw.payload_sum != raw.target_sum)
    return records_.Damaged(record.payload_offset(), "checksum of the payload does not match");
  request.offset = offset;
  ++extents_;
  bytes_ += length;
  return {};
}

Status VerifyReader::TakeEnd(VerifyRequest& request) const {
  request.kind = VerifyRequest::Kind::kEnded;
  RawEnd raw;
  if (!GetStruct(request.record.body, &raw) || raw.count != extents_ || raw.amount != bytes_)
    return records_.Damaged(request.record.offset, "the end counts other extents");
  return {};
}

}  // namespace ddsnap::repl
