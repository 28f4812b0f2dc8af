// SPDX-License-Identifier: GPL-2.0
// Deltas as streams of extents.  The format is in doc/delta-format.md; what
// the payloads hold is extent_codec.h's.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_DELTA_STREAM_H_
#define DDSNAP_REPL_DELTA_STREAM_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "repl/checksum.h"
#include "repl/stream_head.h"

namespace ddsnap::repl {

struct DeltaHead {
  StreamHead common;
  uint64_t expected = 0;  // content bytes to come, at most; 0: unknown
  uint64_t begin = 0;     // extents below this offset were left out
  bool base_sums = true;  // false: made from a bookmark, without the base's contents
  bool operator==(const DeltaHead&) const = default;
};

struct Extent {
  enum class Kind : uint32_t { kRaw = 0, kZero = 1, kZstd = 2, kDiff = 3 };
  uint64_t offset = 0;       // bytes on the device
  uint32_t length = 0;       // bytes of content, at most kMaxExtent
  uint32_t base_length = 0;  // of these: inside the base
  Kind kind = Kind::kRaw;
  Sum base_sum{};
  Sum target_sum{};
  Sum payload_sum{};
};

// How much of [offset, offset+length) lies below `size`.
[[nodiscard]] constexpr uint64_t Clip(uint64_t offset, uint64_t length, uint64_t size) {
  if (offset >= size) return 0;
  return length < size - offset ? length : size - offset;
}

class DeltaWriter {
 public:
  DeltaWriter(ByteSink& sink, const DeltaHead& head)
      : records_(sink, kDeltaMagic, head.base_sums ? 0 : kNoBaseSums), head_(head) {}

  [[nodiscard]] Status Begin();
  [[nodiscard]] Status Add(const Extent& extent, std::span<const std::byte> payload);
  [[nodiscard]] Status Finish();

 private:
  RecordWriter records_;
  DeltaHead head_;
  uint64_t extents_ = 0;
  uint64_t bytes_ = 0;
};

class DeltaReader {
 public:
  // Reads the head.
  [[nodiscard]] static Result<DeltaReader> Open(ByteSource& source);

  [[nodiscard]] const DeltaHead& head() const { return head_; }

  // The next extent, or false when the delta has ended as it should.  All but
  // the payload is checked: DecodeExtent does that.  `record` holds the payload.
  [[nodiscard]] Result<bool> Next(Extent* extent, Record* record);

  // Damage of what `record` holds.
  [[nodiscard]] std::unexpected<Error> Damaged(uint64_t offset, const std::string& why) const {
    return records_.Damaged(offset, why);
  }
  [[nodiscard]] uint64_t extents() const { return extents_; }          // so far
  [[nodiscard]] uint64_t bytes() const { return bytes_; }              // of content, so far
  [[nodiscard]] uint64_t offset() const { return records_.offset(); }  // in the stream

 private:
  explicit DeltaReader(ByteSource& source) : records_(source, kDeltaMagic, "delta", kNoBaseSums) {}
  [[nodiscard]] Status ReadHead();
  // Why the extent is impossible, or null.
  [[nodiscard]] const char* Judge(const RawExtent& raw, size_t payload) const;
  [[nodiscard]] Status TakeEnd(const Record& record);

  RecordReader records_;
  DeltaHead head_;
  bool ended_ = false;
  uint64_t end_ = 0;  // of the last extent
  uint64_t extents_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_DELTA_STREAM_H_
