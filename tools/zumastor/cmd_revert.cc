// SPDX-License-Identifier: GPL-2.0
// zumastor revert NAME TAG, zumastor revert --cancel NAME
//
// The volume's own device is away meanwhile, so that whatever happens nobody uses a volume
// that is half-way: it comes back when the revert is over.
#include <cerrno>
#include <cstdio>
#include <memory>

#include "../control_verb.h"
#include "../progress.h"
#include "cli/options.h"
#include "commands.h"
#include "going_back.h"
#include "live_volume.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  std::optional<Tag> tag;
  bool cancel = false;
  bool json = false;
};

Result<int> Revert(const Options& options) {
  ProgressLine line;
  auto reverted = RevertVolume(options.name, *options.tag, [&line](uint64_t done, uint64_t total) {
    line.Show("reverting", done, total);
  });
  line.Clear();
  if (!reverted) return Pass(reverted);
  if (options.json) {
    PrintJson({{"volume", options.name},
               {"tag", *options.tag},
               {"compared", reverted->sum.compared},
               {"written", reverted->sum.written},
               {"left_alone", reverted->left_alone}});
  } else {
    std::printf("%s is as snapshot %u again: %s of %s differed\n", options.name.c_str(),
                *options.tag, FormatSize(reverted->sum.written).c_str(),
                FormatSize(reverted->sum.compared).c_str());
  }
  return 0;
}

Result<int> Cancel(const Options& options) {
  auto volume = LiveVolume::Open(options.name);
  if (!volume) return Pass(volume);
  if (Status s = volume->CancelRevert(); !s) return Pass(s);
  if (options.json) PrintJson({{"volume", options.name}});
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  Argument tag = AddTag(args, "TAG", &options->tag, "snapshot that it shall be as again");
  args.AddFlag("--cancel", &options->cancel,
               "end a revert that was cut off, and leave the volume as it is")
      .Excludes(tag);
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    if (options->tag) return Revert(*options);
    if (options->cancel) return Cancel(*options);
    std::fputs("zumastor: revert: to which snapshot?\n", stderr);
    return 2;
  };
}

}  // namespace

const Command kRevert = {"revert", {}, "bring a volume back to a snapshot", Declare};

}  // namespace ddsnap
