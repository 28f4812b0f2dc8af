// SPDX-License-Identifier: GPL-2.0
// What a receiver tells a sender that it is connected to.  doc/delta-format.md, "Both
// directions".
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_REPLY_STREAM_H_
#define DDSNAP_REPL_REPLY_STREAM_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "repl/receive_state.h"
#include "repl/record.h"

namespace ddsnap::repl {

struct Reply {
  enum class Kind : uint8_t { kStatus, kAck, kDone, kFail };
  Kind kind = Kind::kAck;
  uint64_t position = 0;              // kAck, kDone
  std::optional<ReceiveState> state;  // kStatus: what, complete, position, limit; none: nothing yet
  Error error;                        // kFail
};

class ReplyWriter {
 public:
  explicit ReplyWriter(ByteSink& sink);
  [[nodiscard]] Status PutStatus(const std::optional<ReceiveState>& state);
  [[nodiscard]] Status PutAck(uint64_t position);
  [[nodiscard]] Status PutDone(uint64_t position);
  [[nodiscard]] Status PutFail(const Error& error);

 private:
  RecordWriter records_;
};

class ReplyReader {
 public:
  explicit ReplyReader(ByteSource& source);
  // The first is kStatus, and no other is.  EBADMSG when the stream ends or is damaged.
  [[nodiscard]] Result<Reply> Next();

 private:
  [[nodiscard]] Result<Reply> TakeStatus();

  RecordReader records_;
  Record record_;
  bool begun_ = false;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_REPLY_STREAM_H_
