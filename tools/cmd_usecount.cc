// SPDX-License-Identifier: GPL-2.0
// ddsnap usecount SOCK TAG [DIFF]
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  Tag tag = 0;
  int diff = 0;
  bool json = false;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddTag(args, "TAG", &options->tag, "number of the snapshot").Required();
  args.Add("DIFF", &options->diff, "what to add to the count, such as 1 or -1")
      .InRange(-65535, 65535);
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    nlohmann::json request = {{"verb", "usecount"}, {"tag", options->tag}};
    if (options->diff != 0) request["diff"] = options->diff;
    auto answer = AskServer(options->socket, request);
    if (!answer) return Pass(answer);
    auto count = Field<uint64_t>(*answer, "usecount");
    if (!count) return Pass(count);
    if (options->json) {
      PrintJson(*answer);
    } else {
      std::printf("%llu\n", static_cast<unsigned long long>(*count));
    }
    return 0;
  };
}

}  // namespace

const Command kUsecount = {
    "usecount", {}, "print, or change, how often a snapshot is in use", Declare};

}  // namespace ddsnap
