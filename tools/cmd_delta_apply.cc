// SPDX-License-Identifier: GPL-2.0
// ddsnap delta apply DELTA DEVICE
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "repl/apply_delta.h"

namespace ddsnap {
namespace {

struct Options {
  std::string delta;
  std::string device;
  bool json = false;
};

Result<int> Run(const Options& options) {
  auto source = repl::FileSource::Open(options.delta);
  if (!source) return Pass(source);
  auto device = repl::ContentDevice::OpenToChange(options.device);
  if (!device) return Pass(device);
  ProgressLine line(options.json);
  repl::ApplyOptions apply;
  apply.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  auto summary = repl::ApplyDelta(**source, **device, apply);
  line.Clear();
  if (!summary) return Pass(summary);
  if (options.json) {
    PrintJson({{"volume_uuid", FormatUuid(summary->head.common.volume)},
               {"extents", summary->extents},
               {"bytes", summary->bytes},
               {"already", summary->already}});
  } else {
    std::printf("%s: now as %s: %s in %llu extents\n", options.device.c_str(),
                repl::Describe(summary->head.common.target).c_str(),
                FormatSize(summary->bytes).c_str(),
                static_cast<unsigned long long>(summary->extents));
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("DELTA", &options->delta, "delta file, or - for standard input").Required();
  args.Add("DEVICE", &options->device, "device that holds the delta's base").Required();
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaApply = {
    "delta apply", {"apply-delta"}, "turn a delta's base into its target", Declare};

}  // namespace ddsnap
