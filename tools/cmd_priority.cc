// SPDX-License-Identifier: GPL-2.0
// ddsnap priority SOCK TAG N
#include <memory>

#include "commands.h"
#include "control_verb.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  Tag tag = 0;
  int priority = 0;
  bool json = false;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddTag(args, "TAG", &options->tag, "number of the snapshot").Required();
  args.Add("N", &options->priority, "-128, given up first when space is short, to 127, never")
      .Required()
      .InRange(-128, 127);
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    auto answer =
        AskServer(options->socket,
                  {{"verb", "priority"}, {"tag", options->tag}, {"priority", options->priority}});
    if (!answer) return Pass(answer);
    if (options->json) PrintJson(*answer);
    return 0;
  };
}

}  // namespace

const Command kPriority = {
    "priority", {"set-priority"}, "set which snapshots are given up first", Declare};

}  // namespace ddsnap
