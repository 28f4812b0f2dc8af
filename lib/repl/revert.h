// SPDX-License-Identifier: GPL-2.0
// Brings the content of an origin back to that of a snapshot, chunk by chunk.
//
// The origin's side is written like by any other user: the volume copies what other
// snapshots still need.  Each run of chunks holds, at any moment, what it
// held or what the snapshot holds; so whatever cuts it off, doing it all again is right.
#ifndef DDSNAP_REPL_REVERT_H_
#define DDSNAP_REPL_REVERT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/chunk.h"
#include "base/status.h"
#include "repl/content_device.h"

namespace ddsnap::repl {

struct RevertOptions {
  uint64_t chunk_size = 0;  // bytes
  uint64_t size = 0;        // of the snapshot; what the origin has beyond it is left alone
  unsigned threads = 0;     // 0: as many as suit the machine
  // Hears, on the calling thread, how many bytes of how many have been compared.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct RevertSummary {
  uint64_t compared = 0;          // bytes
  uint64_t written = 0;           // of these: differed
  uint64_t unreadable = 0;        // bytes that the snapshot has lost: left as they were
  uint64_t first_unreadable = 0;  // offset
};

// `ranges`: the chunks that may differ, ascending.  On return all that was written is
// durable.  An error means that the origin is partly as before.
[[nodiscard]] Result<RevertSummary> Revert(const ContentDevice& snapshot,
                                           const ContentDevice& origin,
                                           std::span<const ChunkRange> ranges,
                                           const RevertOptions& options);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_REVERT_H_
