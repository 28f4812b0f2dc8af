// SPDX-License-Identifier: GPL-2.0
// ddsnap bookmark SOCK TAG
#include <memory>

#include "commands.h"
#include "control_verb.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  Tag tag = 0;
  bool json = false;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddTag(args, "TAG", &options->tag, "number of the snapshot").Required();
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    auto answer = AskServer(options->socket, {{"verb", "bookmark"}, {"tag", options->tag}});
    if (!answer) return Pass(answer);
    if (options->json) PrintJson(*answer);
    return 0;
  };
}

}  // namespace

const Command kBookmarkVerb = {
    "bookmark", {}, "keep of a snapshot only what changed since, as a base to send from", Declare};

}  // namespace ddsnap
