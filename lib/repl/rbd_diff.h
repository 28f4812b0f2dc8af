// SPDX-License-Identifier: GPL-2.0
// Ceph's RBD diff format, version 1: deltas to it and back.  doc/delta-format.md says
// which records stand for what.
//
// Thread rule: one thread.
#ifndef DDSNAP_REPL_RBD_DIFF_H_
#define DDSNAP_REPL_RBD_DIFF_H_

#include <cstdint>
#include <string>

#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/content_device.h"
#include "repl/delta_stream.h"
#include "repl/extent_codec.h"

namespace ddsnap::repl {

struct RbdNames {
  std::string from;  // of the snapshots; empty: "ddsnap-TAG"
  std::string to;
};

struct RbdSummary {
  uint64_t extents = 0;
  uint64_t bytes = 0;
};

// `base` holds the delta's base, or is null: then an extent that is a difference
// is refused with EINVAL.  A stream that does not begin at 0 is refused.
[[nodiscard]] Result<RbdSummary> ExportRbd(ByteSource& delta, const ContentDevice* base,
                                           ByteSink& out, const RbdNames& names);

struct RbdImport {
  Uuid volume{};
  uint32_t chunk_size = 4096;
  Mode mode = Mode::kBest;
  int level = 0;
  int64_t now_ns = 0;
};

// `base` holds what the diff begins from; null, and only then, for a diff without
// a beginning.  EBADMSG: no such diff, damaged or cut off.
[[nodiscard]] Result<RbdSummary> ImportRbd(ByteSource& diff, const ContentDevice* base,
                                           ByteSink& out, const RbdImport& options);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RBD_DIFF_H_
