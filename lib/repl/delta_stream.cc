// SPDX-License-Identifier: GPL-2.0
#include "repl/delta_stream.h"

#include <array>

namespace ddsnap::repl {

Status DeltaWriter::Begin() {
  return records_.PutStruct(kHead,
                            RawDeltaHead{PackHead(head_.common), head_.expected, head_.begin});
}

Status DeltaWriter::Add(const Extent& extent, std::span<const std::byte> payload) {
  ++extents_;
  bytes_ += extent.length;
  const RawExtent raw{extent.offset,
                      extent.length,
                      extent.base_length,
                      static_cast<uint32_t>(extent.kind),
                      0,
                      extent.base_sum,
                      extent.target_sum,
                      extent.payload_sum,
                      0};
  return records_.PutStruct(kExtent, raw, payload);
}

Status DeltaWriter::Finish() { return records_.PutStruct(kEnd, RawEnd{extents_, bytes_}); }

Result<DeltaReader> DeltaReader::Open(ByteSource& source) {
  DeltaReader reader(source);
  if (Status s = reader.ReadHead(); !s) return Pass(s);
  return reader;
}

Status DeltaReader::ReadHead() {
  static constexpr std::array kFirst = {kHead};
  Record record;
  if (Status s = records_.Next(kFirst, &record); !s) return s;
  RawDeltaHead raw;
  if (!GetStruct(record.body, &raw) || !record.payload.empty()) {
    return records_.Damaged(record.offset, "head of impossible size");
  }
  auto common = UnpackHead(raw.common, record, records_);
  if (!common) return Pass(common);
  if (common->base.none && common->base.size != 0) {
    return records_.Damaged(record.offset, "no base, but it has a size");
  }
  head_ = {*common, raw.expected, raw.begin, (records_.features() & kNoBaseSums) == 0};
  if (common->base.none && !head_.base_sums) {
    return records_.Damaged(record.offset, "no base, but a word on its sums");
  }
  return {};
}

const char* DeltaReader::Judge(const RawExtent& raw, size_t payload) const {
  const uint64_t target = head_.common.target.size;
  const uint32_t chunk_size = head_.common.chunk_size;
  const uint64_t offset = raw.offset;
  const uint32_t length = raw.length;
  if (offset % chunk_size != 0) return "extent between chunks";
  if (offset < end_ || offset < head_.begin) return "extent out of order";
  if (length == 0 || length > kMaxExtent) return "extent of impossible length";
  if (offset >= target || length > target - offset) return "extent past the end of the target";
  if (length % chunk_size != 0 && offset + length != target) return "extent ends inside a chunk";
  if (raw.base_length != Clip(offset, length, head_.common.base.size)) {
    return "extent with an impossible part of the base";
  }
  if (!head_.base_sums && raw.base_sum != Sum{}) return "base sum in a stream that has none";
  if (!head_.base_sums && raw.kind == static_cast<uint32_t>(Extent::Kind::kDiff)) {
    return "difference in a stream without base sums";
  }
  switch (static_cast<Extent::Kind>(uint32_t{raw.kind})) {
    case Extent::Kind::kRaw:
      if (payload != length || raw.payload_sum != raw.target_sum)
        return "raw extent of other length";
      return nullptr;
    case Extent::Kind::kZero:
      return payload == 0 ? nullptr : "extent of zeroes with a payload";
    case Extent::Kind::kZstd:
    case Extent::Kind::kDiff:
      return payload > 0 && payload < length ? nullptr : "compressed extent of impossible length";
  }
  return "extent of unknown kind";
}

Result<bool> DeltaReader::Next(Extent* extent, Record* record) {
  static constexpr std::array kRest = {kExtent, kEnd};
  if (ended_) return false;
  if (Status s = records_.Next(kRest, record); !s) return Pass(s);
  if (record->type == kEnd) {
    if (Status s = TakeEnd(*record); !s) return Pass(s);
    return false;
  }
  RawExtent raw;
  if (!GetStruct(record->body, &raw)) {
    return records_.Damaged(record->offset, "extent of impossible size");
  }
  if (const char* why = Judge(raw, record->payload.size()); why != nullptr) {
    return records_.Damaged(record->offset, why);
  }
  *extent = {.offset = raw.offset,
             .length = raw.length,
             .base_length = raw.base_length,
             .kind = static_cast<Extent::Kind>(uint32_t{raw.kind}),
             .base_sum = raw.base_sum,
             .target_sum = raw.target_sum,
             .payload_sum = raw.payload_sum};
  end_ = extent->offset + extent->length;
  ++extents_;
  bytes_ += extent->length;
  return true;
}

Status DeltaReader::TakeEnd(const Record& record) {
  RawEnd raw;
  if (!GetStruct(record.body, &raw) || !record.payload.empty()) {
    return records_.Damaged(record.offset, "end of impossible size");
  }
  if (raw.count != extents_ || raw.amount != bytes_) {
    return records_.Damaged(record.offset, "counts do not match");
  }
  ended_ = true;
  return records_.AtEnd();
}

}  // namespace ddsnap::repl
