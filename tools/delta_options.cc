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

void AddMode(CLI::App& app, ModeOptions* options) {
  auto* raw = app.add_flag("-r,--raw", options->raw, "contents as they are");
  auto* diff = app.add_flag("-x,--diff", options->diff, "differences against the base");
  auto* best = app.add_flag("-b,--best", options->best, "the smallest, extent by extent (default)");
  raw->excludes(diff)->excludes(best);
  diff->excludes(best);
  app.add_option("-z,--compress", options->level,
                 "zstd level, 1 to 19; with -r the default is not to compress")
      ->check(CLI::Range(0, 19))
      ->type_name("LEVEL");
}

}  // namespace ddsnap
