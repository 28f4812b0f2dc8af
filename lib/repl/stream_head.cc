// SPDX-License-Identifier: GPL-2.0
#include "repl/stream_head.h"

#include <bit>

namespace ddsnap::repl {
namespace {

RawIdentity PackIdentity(const SnapshotId& id) {
  return {id.epoch, id.tag, id.none ? kNoBase : 0u, id.size, static_cast<uint64_t>(id.created_ns)};
}

SnapshotId UnpackIdentity(const RawIdentity& raw) {
  return {.epoch = raw.epoch,
          .tag = raw.tag,
          .size = raw.size,
          .created_ns = static_cast<int64_t>(uint64_t{raw.created_ns}),
          .none = (raw.flags & kNoBase) != 0};
}

bool IsSane(const RawIdentity& raw, uint32_t allowed_flags) {
  return raw.size <= kMaxSize && (raw.flags & ~allowed_flags) == 0;
}

}  // namespace

RawChangelistHead PackHead(const StreamHead& head) {
  return {head.volume,
          head.chunk_size,
          0,
          PackIdentity(head.base),
          PackIdentity(head.target),
          static_cast<uint64_t>(head.made_ns)};
}

Result<StreamHead> UnpackHead(const RawChangelistHead& raw, const Record& record,
                              const RecordReader& reader) {
  const uint32_t chunk_size = raw.chunk_size;
  if (!std::has_single_bit(chunk_size) || chunk_size < kMinChunkSize || chunk_size > kMaxChunkSize) {
    return reader.Damaged(record.offset, "impossible chunk size " + std::to_string(chunk_size));
  }
  if (!IsSane(raw.base, kNoBase) || !IsSane(raw.target, 0)) {
    return reader.Damaged(record.offset, "impossible description of a snapshot");
  }
  return StreamHead{.volume = raw.volume,
                    .chunk_size = chunk_size,
                    .base = UnpackIdentity(raw.base),
                    .target = UnpackIdentity(raw.target),
                    .made_ns = static_cast<int64_t>(uint64_t{raw.made_ns})};
}

std::string Describe(const SnapshotId& id) {
  if (id.none) return "nothing";
  return id.tag == kOriginTag ? "origin" : "snapshot " + std::to_string(id.tag);
}

}  // namespace ddsnap::repl
