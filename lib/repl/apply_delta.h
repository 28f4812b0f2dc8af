// SPDX-License-Identifier: GPL-2.0
// Applies a delta to a device.  The order of checks and writes is promised in
// doc/delta-format.md, "Applying".
//
// Thread rule: one thread; uses threads of its own inside.
#ifndef DDSNAP_REPL_APPLY_DELTA_H_
#define DDSNAP_REPL_APPLY_DELTA_H_

#include <cstdint>

#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/content_device.h"
#include "repl/create_delta.h"
#include "repl/delta_stream.h"

namespace ddsnap::repl {

struct ApplyOptions {
  unsigned threads = 0;  // 0: as many as suit the machine
  Progress progress;     // may be empty
};

struct ApplySummary {
  DeltaHead head;
  uint64_t extents = 0;
  uint64_t bytes = 0;    // of content in them
  uint64_t already = 0;  // of these: the device held the target's content before
};

// A rewindable delta is checked to its end, and the device in all its extents,
// before the first byte is written; one that is not, extent by extent.
// On success all is durable.  EBADMSG: the delta is damaged; ESTALE: the device is
// not the delta's base; ENOSPC: it is too small.
[[nodiscard]] Result<ApplySummary> ApplyDelta(ByteSource& delta, const ContentDevice& device,
                                              const ApplyOptions& options);

// Reads a delta to its end and writes nothing.  With a device: it must hold the
// base or the target in every extent; without: differences are not decoded.
// Errors as of ApplyDelta.  ENOTSUP, of both: a device, and a delta without base sums.
[[nodiscard]] Result<ApplySummary> VerifyDelta(ByteSource& delta, const ContentDevice* device,
                                               const ApplyOptions& options);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_APPLY_DELTA_H_
