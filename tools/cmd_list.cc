// SPDX-License-Identifier: GPL-2.0
// ddsnap list SOCK
#include <memory>

#include "commands.h"
#include "snapshot_table.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  bool json = false;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    auto answer = AskServer(options->socket, {{"verb", "list"}});
    if (!answer) return Pass(answer);
    if (options->json) {
      PrintJson(*answer);
      return 0;
    }
    if (Status s = PrintSnapshots(*answer, {.space = false, .verbose = false}); !s) return Pass(s);
    return 0;
  };
}

}  // namespace

const Command kList = {"list", {}, "list the snapshots", Declare};

}  // namespace ddsnap
