// SPDX-License-Identifier: GPL-2.0
// What is asked of a receiver whose content is compared with a snapshot.
// doc/delta-format.md, "Comparing".
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_VERIFY_STREAM_H_
#define DDSNAP_REPL_VERIFY_STREAM_H_

#include <cstdint>
#include <span>

#include "base/status.h"
#include "repl/stream_head.h"

namespace ddsnap::repl {

struct VerifyHead {
  StreamHead what;    // the target: what is compared; there is no base
  bool mend = false;  // what differs is sent, and written
  bool operator==(const VerifyHead&) const = default;
};

// A range, and the units that each have a sum.
struct SumRange {
  uint64_t offset = 0;
  uint32_t length = 0;
  uint32_t unit = 0;
  [[nodiscard]] uint64_t end() const { return offset + length; }
  [[nodiscard]] size_t count() const { return (length + size_t{unit} - 1) / unit; }
  bool operator==(const SumRange&) const = default;
};
// Whether such a range may be asked for, of `size` bytes.
[[nodiscard]] bool IsSane(const SumRange& range, uint64_t size);

// The sum of a unit that cannot be read.
inline constexpr Sum kLostSum{};

class VerifyWriter {
 public:
  VerifyWriter(ByteSink& sink, const VerifyHead& head)
      : records_(sink, kVerifyMagic), head_(head) {}

  [[nodiscard]] Status Begin();
  [[nodiscard]] Status Ask(const SumRange& range);
  // Content that differs, of at most kMaxExtent bytes, where the head says so.
  [[nodiscard]] Status Mend(uint64_t offset, std::span<const std::byte> content);
  [[nodiscard]] Status Finish();

 private:
  RecordWriter records_;
  const VerifyHead head_;
  uint64_t extents_ = 0;
  uint64_t bytes_ = 0;
};

struct VerifyRequest {
  enum class Kind : uint8_t { kAsked, kContent, kEnded };
  Kind kind = Kind::kEnded;
  SumRange range;       // kAsked
  uint64_t offset = 0;  // kContent: it is the record's payload
  Record record;
};

class VerifyReader {
 public:
  // Reads the head.
  [[nodiscard]] static Result<VerifyReader> Open(ByteSource& source);

  [[nodiscard]] const VerifyHead& head() const { return head_; }
  // Everything is checked, contents by their sums.  Nothing comes after kEnded.
  [[nodiscard]] Status Next(VerifyRequest* request);

 private:
  explicit VerifyReader(ByteSource& source)
      : records_(source, kVerifyMagic, "question of a sender") {}
  [[nodiscard]] Status ReadHead();
  [[nodiscard]] Status TakeAsk(VerifyRequest& request) const;
  [[nodiscard]] Status TakeMend(VerifyRequest& request);
  [[nodiscard]] Status TakeEnd(VerifyRequest& request) const;

  RecordReader records_;
  VerifyHead head_;
  uint64_t extents_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_VERIFY_STREAM_H_
