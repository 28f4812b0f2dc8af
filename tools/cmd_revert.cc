// SPDX-License-Identifier: GPL-2.0
// ddsnap revert SOCK TAG, ddsnap revert --cancel SOCK
#include <cerrno>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "reverting.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  std::optional<Tag> tag;
  bool cancel = false;
  bool json = false;
};

Result<int> Revert(const Options& options) {
  auto status = AskServer(options.socket, {{"verb", "status"}});
  if (!status) return Pass(status);
  auto uuid = Field<std::string>(*status, "volume_uuid");
  if (!uuid) return Pass(uuid);
  ProgressLine line;
  RevertRequest request;
  request.socket = options.socket;
  request.tag = *options.tag;
  request.own = "ddsnap-revert-" + *uuid;
  request.progress = [&line](uint64_t done, uint64_t total) {
    line.Show("reverting", done, total);
  };
  auto reverted = RevertOrigin(request);
  line.Clear();
  if (!reverted) return Pass(reverted);
  if (options.json) {
    PrintJson({{"tag", request.tag},
               {"compared", reverted->sum.compared},
               {"written", reverted->sum.written},
               {"left_alone", reverted->left_alone}});
  } else {
    std::printf("origin is as snapshot %u again: %s of %s differed\n", request.tag,
                FormatSize(reverted->sum.written).c_str(),
                FormatSize(reverted->sum.compared).c_str());
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  Argument tag = AddTag(args, "TAG", &options->tag, "snapshot that the origin shall be as again");
  args.AddFlag("--cancel", &options->cancel,
               "end a revert that was cut off, and leave the origin as it is")
      .Excludes(tag);
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    if (options->tag) return Revert(*options);
    if (!options->cancel) {
      std::fputs("ddsnap: revert: to which snapshot?\n", stderr);
      return 2;
    }
    if (Status s = CancelRevert(options->socket); !s) return Pass(s);
    if (options->json) PrintJson(nlohmann::json::object());
    return 0;
  };
}

}  // namespace

const Command kRevert = {"revert", {}, "bring the origin back to a snapshot", Declare};

}  // namespace ddsnap
