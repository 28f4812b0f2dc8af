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

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("SOCK", options->socket, "the server's socket")->required();
  AddTag(app, "TAG", &options->tag, "number of the snapshot")->required();
  app.add_option("N", options->priority, "-128, given up first when space is short, to 127, never")
      ->required()
      ->check(CLI::Range(-128, 127));
  AddJson(app, &options->json);
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
