// SPDX-License-Identifier: GPL-2.0
// The options that verbs which make deltas share.
#ifndef DDSNAP_TOOLS_DELTA_OPTIONS_H_
#define DDSNAP_TOOLS_DELTA_OPTIONS_H_

#include <cstdint>

#include "cli/arguments.h"
#include "repl/create_delta.h"

namespace ddsnap {

struct ModeOptions {
  bool raw = false;
  bool diff = false;
  bool best = false;
  int level = 0;
  // Mode, level and the time now.
  [[nodiscard]] repl::CreateOptions ToCreate() const;
};

// -r, -x, -b, -z
void AddMode(Arguments& args, ModeOptions* options);

// Nanoseconds since 1970, UTC.
[[nodiscard]] int64_t NowNs();

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_DELTA_OPTIONS_H_
