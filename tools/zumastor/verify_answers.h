// SPDX-License-Identifier: GPL-2.0
// The downstream side of `zumastor verify`: tells what the replica holds, by sums, and mends it.
// doc/delta-format.md, "Comparing".
#ifndef DDSNAP_TOOLS_ZUMASTOR_VERIFY_ANSWERS_H_
#define DDSNAP_TOOLS_ZUMASTOR_VERIFY_ANSWERS_H_

#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/reply_stream.h"
#include "volume/volume_config.h"

namespace ddsnap {

// Answers what is asked of a replica.  The caller holds the lock of receiving, and has the last
// word.  `mending`: the replica was to be changed.
[[nodiscard]] Status AnswerVerification(const VolumeConfig& config, repl::ByteSource& source,
                                        repl::ReplyWriter& replies, bool* mending);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_VERIFY_ANSWERS_H_
