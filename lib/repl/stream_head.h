// SPDX-License-Identifier: GPL-2.0
// What a changelist or delta says about itself in its first record.
#ifndef DDSNAP_REPL_STREAM_HEAD_H_
#define DDSNAP_REPL_STREAM_HEAD_H_

#include <cstdint>
#include <string>

#include "base/chunk.h"
#include "base/status.h"
#include "repl/format.h"
#include "repl/record.h"

namespace ddsnap::repl {

struct SnapshotId {
  Epoch epoch = 0;         // 0: the origin at that time
  Tag tag = 0;             // kOriginTag: the origin
  uint64_t size = 0;       // bytes
  int64_t created_ns = 0;  // since 1970, UTC; 0: unknown
  bool none = false;       // there is no base: a full stream
  bool operator==(const SnapshotId&) const = default;
};

struct StreamHead {
  Uuid volume{};
  uint32_t chunk_size = 0;  // bytes
  SnapshotId base;
  SnapshotId target;
  int64_t made_ns = 0;
  bool operator==(const StreamHead&) const = default;
};

[[nodiscard]] RawChangelistHead PackHead(const StreamHead& head);

// Checks every field; the error is damage at `record`'s place.
[[nodiscard]] Result<StreamHead> UnpackHead(const RawChangelistHead& raw, const Record& record,
                                            const RecordReader& reader);

// "origin", "snapshot 7".
[[nodiscard]] std::string Describe(const SnapshotId& id);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_STREAM_HEAD_H_
