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
#include "repl/changelist.h"
#include "repl/content_device.h"
#include "repl/extent_codec.h"

namespace ddsnap::repl {

// What is being done, and how many of how many bytes.  Called on the thread
// that called, often: the callee decides what it shows.
using Progress = std::function<void(const char* what, uint64_t done, uint64_t total)>;

struct CreateOptions {
  Mode mode = Mode::kBest;
  int level = 0;         // see ExtentEncoder
  unsigned threads = 0;  // 0: as many as suit the machine
  int64_t now_ns = 0;    // for the head
  Progress progress;     // may be empty
};

struct CreateSummary {
  uint64_t extents = 0;
  uint64_t bytes = 0;     // of content in them
  uint64_t payload = 0;   // bytes that they take
  uint64_t unchanged = 0; // bytes of content that were listed but do not differ
};

// Reads the changelist to its end: nothing is done on the word of a damaged
// one.  Returns its head and the content bytes that a delta would hold at most.
struct ChangelistTotals {
  StreamHead head;
  uint64_t ranges = 0;
  uint64_t chunks = 0;
  uint64_t content = 0;  // bytes, growth of the target included
};
[[nodiscard]] Result<ChangelistTotals> CheckChangelist(ByteSource& changelist);

// Checks the changelist, then reads the two devices and writes the delta.
// The changelist must be rewindable.  The sink's commit is the caller's.
[[nodiscard]] Result<CreateSummary> CreateDelta(ByteSource& changelist, const ContentDevice& from,
                                                const ContentDevice& to, ByteSink& out,
                                                const CreateOptions& options);

// The extents of a changelist: its ranges, and what the target has grown by,
// clipped to the target and cut to kMaxExtent.
class ExtentPlan {
 public:
  explicit ExtentPlan(ChangelistReader& list);
  // Sets place and lengths; false at the end.
  [[nodiscard]] Result<bool> Next(Extent* extent);

 private:
  [[nodiscard]] Result<bool> NextRange();

  ChangelistReader& list_;
  const uint64_t chunk_size_;
  const uint64_t target_size_;
  const uint64_t base_size_;
  uint64_t growth_;        // first byte that counts as grown; kMaxSize + 1: none
  bool list_ended_ = false;
  uint64_t at_ = 0;   // bytes of the range under way
  uint64_t end_ = 0;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CREATE_DELTA_H_
