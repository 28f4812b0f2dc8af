// SPDX-License-Identifier: GPL-2.0
// The framing that changelists and deltas share: records with chained sums.
// See doc/delta-format.md.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_RECORD_H_
#define DDSNAP_REPL_RECORD_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "repl/aligned_bytes.h"
#include "repl/byte_stream.h"
#include "repl/format.h"

namespace ddsnap::repl {

struct Record {
  uint32_t type = 0;
  uint64_t offset = 0;  // in the stream, of its first byte
  std::vector<std::byte> body;
  AlignedBytes payload;  // not yet checked: its sum is in the body
  [[nodiscard]] uint64_t payload_offset() const { return offset + sizeof(RawRecord) + body.size(); }
};

class RecordWriter {
 public:
  // Nothing is written before the first record.
  RecordWriter(ByteSink& sink, const Magic& magic, uint32_t features = 0);

  [[nodiscard]] Status Put(uint32_t type, std::span<const std::byte> body,
                           std::span<const std::byte> payload = {}, uint32_t flags = 0);
  template <typename T>
  [[nodiscard]] Status PutStruct(uint32_t type, const T& body,
                                 std::span<const std::byte> payload = {}) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
    return Put(type, std::as_bytes(std::span(&body, 1)), payload);
  }

 private:
  ByteSink& sink_;
  RawBegin begin_;
  Sum previous_{};
  uint64_t number_ = 0;
};

class RecordReader {
 public:
  // `features`: those that the reader knows.
  RecordReader(ByteSource& source, const Magic& magic, const char* what, uint32_t features = 0)
      : source_(source), magic_(magic), what_(what), known_(features) {}

  // Reads the next record, buffers of `record` are used again.  Records that
  // may be skipped and are not among `known` are skipped.  EBADMSG for damage,
  // ENOTSUP for what this version does not know.
  [[nodiscard]] Status Next(std::span<const uint32_t> known, Record* record);

  // Checks that the stream ends here: after the last record.
  [[nodiscard]] Status AtEnd();

  // "NAME: damaged at byte OFFSET: WHY"
  [[nodiscard]] std::unexpected<Error> Damaged(uint64_t offset, const std::string& why) const;
  [[nodiscard]] uint64_t offset() const { return offset_; }
  [[nodiscard]] uint32_t features() const { return features_; }  // of the stream, once begun

 private:
  [[nodiscard]] Status Begin();
  [[nodiscard]] Status ReadExactly(std::span<std::byte> out);
  [[nodiscard]] Status ReadOne(Record* record, RawRecord* raw);

  ByteSource& source_;
  const Magic magic_;
  const char* const what_;  // "delta": for messages
  const uint32_t known_;
  uint32_t features_ = 0;
  bool begun_ = false;
  Sum previous_{};
  uint64_t number_ = 0;
  uint64_t offset_ = 0;
};

// A body's known part.  False if the body is too short for it.
template <typename T>
[[nodiscard]] bool GetStruct(std::span<const std::byte> body, T* out) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
  if (body.size() < sizeof(T)) return false;
  std::memcpy(out, body.data(), sizeof(T));
  return true;
}

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RECORD_H_
