// SPDX-License-Identifier: GPL-2.0
#include "delta_options.h"

#include <chrono>

namespace ddsnap {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

repl::CreateOptions ModeOptions::ToCreate() const {
  repl::CreateOptions create;
  create.mode = raw ? repl::Mode::kRaw : diff ? repl::Mode::kDiff : repl::Mode::kBest;
  create.level = level;
  create.now_ns = NowNs();
  return create;
}

void AddMode(Arguments& args, ModeOptions* options) {
  Argument raw = args.AddFlag("-r,--raw", &options->raw, "contents as they are");
  Argument diff = args.AddFlag("-x,--diff", &options->diff, "differences against the base");
  Argument best =
      args.AddFlag("-b,--best", &options->best, "the smallest, extent by extent (default)");
  raw.Excludes(diff).Excludes(best);
  diff.Excludes(best);
  args.Add("-z,--compress", &options->level,
           "zstd level, 1 to 19; with -r the default is not to compress")
      .InRange(0, 19)
      .TypeName("LEVEL");
}

}  // namespace ddsnap
