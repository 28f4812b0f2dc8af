// SPDX-License-Identifier: GPL-2.0
// Applies a stream that may be cut off anywhere and go on later.  The rules, and
// why nothing is torn, are in doc/delta-format.md, "Receiving".
//
// Thread rule: one thread; uses threads of its own inside.  The callbacks are
// called on the thread that called.
#ifndef DDSNAP_REPL_RECEIVE_DELTA_H_
#define DDSNAP_REPL_RECEIVE_DELTA_H_

#include <cstdint>
#include <functional>

#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/content_device.h"
#include "repl/create_delta.h"
#include "repl/receive_state.h"

namespace ddsnap::repl {

struct ReceiveOptions {
  unsigned threads = 0;              // 0: as many as suit the machine
  Progress progress;                 // may be empty
  bool zeroed = false;               // the device holds nothing but zeroes: gaps need no writing
  uint64_t window_bytes = 16 << 20;  // of contents, at least kMaxExtent
  uint64_t window_ns = 1'000'000'000;
  // Called before the first write to a device that is at no partial state: makes sure that
  // what it holds can be had again, and returns the snapshot's tag.  May be empty.
  std::function<Result<std::optional<LocalSnapshot>>(const DeltaHead&)> before;
  // Called when the target is whole and durable, before the state says so; again
  // after a crash in between.  Returns the tag of its snapshot.  May be empty.
  std::function<Result<std::optional<LocalSnapshot>>(const DeltaHead&)> completed;
  // Whether the device holds, from byte `from` on, what that downstream snapshot holds; an error
  // if there is no such snapshot.  Where it is empty nobody can tell: streams without base sums
  // are refused.
  std::function<Result<bool>(const LocalSnapshot& snapshot, uint64_t from)> same_as;
  // Everything below is durable.  May be empty.
  std::function<Status(uint64_t position)> acknowledged;
};

struct ReceiveSummary {
  DeltaHead head;
  uint64_t extents = 0;  // in the stream
  uint64_t bytes = 0;    // of content in them
  uint64_t already = 0;  // of these: the device held the target's content before
  uint64_t resumed = 0;  // position at which an earlier receive was continued
};

// On success the device holds the target, durably, and the log says so.  On an
// error all extents before it are in place and acknowledged.
// EBADMSG: the stream, or the log, is damaged or cut off; ESTALE: the device is not the stream's
// base; EALREADY: it holds the target; EBUSY: it is in the middle of another
// stream; ENOSPC: it is too small.
[[nodiscard]] Result<ReceiveSummary> ReceiveDelta(ByteSource& delta, const ContentDevice& device,
                                                  ReceiveLog& log, const ReceiveOptions& options);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RECEIVE_DELTA_H_
