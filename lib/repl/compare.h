// SPDX-License-Identifier: GPL-2.0
// Compares a snapshot with what is at the other end of a connection, by sums; and the other end.
// doc/delta-format.md, "Comparing".
//
// Thread rule: one thread; uses threads of its own inside.  The callbacks are called on the thread
// that called.
#ifndef DDSNAP_REPL_COMPARE_H_
#define DDSNAP_REPL_COMPARE_H_

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "repl/content_device.h"
#include "repl/create_delta.h"
#include "repl/reply_stream.h"
#include "repl/verify_stream.h"

namespace ddsnap::repl {

struct CompareOptions {
  unsigned threads = 0;  // 0: as many as suit the machine
  Progress progress;     // may be empty
  // Hears of each run of chunks that differs, in order, and what we have there; at most
  // kMaxExtent bytes.
  std::function<Status(uint64_t offset, std::span<const std::byte> ours)> differs;
};

struct CompareSummary {
  uint64_t compared = 0;   // bytes
  uint64_t different = 0;  // chunks
};

// `asks` has begun; its end is the caller's.  The error of a receiver that gives up is its own
// (replies.failed()).  EBADMSG: the answers are damaged or cut off; EIO: a side reads otherwise
// each time.
[[nodiscard]] Result<CompareSummary> Compare(const StreamHead& head, const ContentDevice& ours,
                                             VerifyWriter& asks, ReplyReader& replies,
                                             const CompareOptions& options);

struct AnswerSummary {
  uint64_t extents = 0;  // that were written
  uint64_t bytes = 0;
};

// Answers what is asked until the stream ends.  What was to be written is durable then.  The
// device is at least as large as the head's target.
[[nodiscard]] Result<AnswerSummary> Answer(VerifyReader& asks, const ContentDevice& device,
                                           ReplyWriter& replies, unsigned threads = 0);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_COMPARE_H_
