// SPDX-License-Identifier: GPL-2.0
// Makes a delta from a changelist and the two snapshots' devices.
//
// Thread rule: one thread; uses threads of its own inside.
#ifndef DDSNAP_REPL_CREATE_DELTA_H_
#define DDSNAP_REPL_CREATE_DELTA_H_

#include <cstdint>
#include <functional>

#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/content_device.h"
#include "repl/content_plan.h"
#include "repl/extent_codec.h"

namespace ddsnap::repl {

// What is being done, and how many of how many bytes.  Called on the thread
// that called, often: the callee decides what it shows.
using Progress = std::function<void(const char* what, uint64_t done, uint64_t total)>;

struct CreateOptions {
  Mode mode = Mode::kBest;
  int level = 0;               // see ExtentEncoder
  unsigned threads = 0;        // 0: as many as suit the machine
  int64_t now_ns = 0;          // for the head
  uint64_t begin = 0;          // what lies below this byte, a chunk's first, is left out
  uint64_t no_diff_below = 0;  // the receiver may not have the base of extents that begin below
  Progress progress;           // may be empty
  // Called when all has been read, before the delta ends: an error leaves it without an end.  May
  // be empty.
  std::function<Status()> before_end;
};

struct CreateSummary {
  uint64_t extents = 0;
  uint64_t bytes = 0;      // of content in them
  uint64_t payload = 0;    // bytes that they take
  uint64_t unchanged = 0;  // bytes that were read but do not differ; without a base: zeroes
};

// Reads the changelist to its end: nothing is done on the word of a damaged
// one.  Returns its head and the content bytes that a delta from `begin` on
// would hold at most.
struct ChangelistTotals {
  StreamHead head;
  uint64_t ranges = 0;
  uint64_t chunks = 0;
  uint64_t content = 0;  // bytes, growth of the target included
};
[[nodiscard]] Result<ChangelistTotals> CheckChangelist(ByteSource& changelist, uint64_t begin = 0);

// Checks the changelist, then reads the two devices and writes the delta.  Without `from` the delta
// has no base sums: what has changed is all that is known of the base.
// The changelist must be rewindable.  The sink's commit is the caller's.
[[nodiscard]] Result<CreateSummary> CreateDelta(ByteSource& changelist, const ContentDevice* from,
                                                const ContentDevice& to, ByteSink& out,
                                                const CreateOptions& options);

// A delta without a base: all of `to` that is not zero.  `head` says what it is;
// its base is ignored.
[[nodiscard]] Result<CreateSummary> CreateFullDelta(const StreamHead& head, const ContentDevice& to,
                                                    ByteSink& out, const CreateOptions& options);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CREATE_DELTA_H_
