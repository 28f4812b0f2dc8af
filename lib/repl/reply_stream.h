// SPDX-License-Identifier: GPL-2.0
// What a receiver tells a sender that it is connected to.  doc/delta-format.md, "Both
// directions".
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_REPLY_STREAM_H_
#define DDSNAP_REPL_REPLY_STREAM_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "repl/receive_state.h"
#include "repl/record.h"
#include "repl/verify_stream.h"

namespace ddsnap::repl {

struct Reply {
  enum class Kind : uint8_t { kStatus, kAck, kDone, kFail, kSums, kSnapshot };
  Kind kind = Kind::kAck;
  uint64_t position = 0;              // kAck, kDone
  std::optional<ReceiveState> state;  // kStatus: what, complete, position, limit; none: nothing yet
  Error error;                        // kFail
  SumRange range;                     // kSums: asked for; as many sums as it has units
  std::vector<Sum> sums;              // kSums
  Tag tag = 0;                        // kSnapshot: of the receiver's
  bool origin_is_it = false;          // kSnapshot: the receiver's origin is what it holds
};

class ReplyWriter {
 public:
  explicit ReplyWriter(ByteSink& sink);
  [[nodiscard]] Status PutStatus(const std::optional<ReceiveState>& state);
  [[nodiscard]] Status PutAck(uint64_t position);
  [[nodiscard]] Status PutDone(uint64_t position);
  [[nodiscard]] Status PutFail(const Error& error);
  [[nodiscard]] Status PutSums(const SumRange& range, std::span<const Sum> sums);
  [[nodiscard]] Status PutSnapshot(Tag tag, bool origin_is_it);

 private:
  RecordWriter records_;
};

class ReplyReader {
 public:
  explicit ReplyReader(ByteSource& source);
  // The first is kStatus, and no other is.  EBADMSG when the stream ends or is damaged.
  [[nodiscard]] Result<Reply> Next();
  // Whether kFail was read: the receiver has given up, not the connection.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  [[nodiscard]] Result<Reply> TakeStatus();
  [[nodiscard]] Result<Reply> TakeFail();
  [[nodiscard]] Result<Reply> TakeSums() const;
  [[nodiscard]] Result<Reply> TakeSnapshot() const;

  RecordReader records_;
  Record record_;
  bool begun_ = false;
  bool failed_ = false;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_REPLY_STREAM_H_
