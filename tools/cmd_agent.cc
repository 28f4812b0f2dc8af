// SPDX-License-Identifier: GPL-2.0
// ddsnap agent [-f] AGENT_SOCK
#include <memory>

#include "commands.h"
#include "exec_daemon.h"

namespace ddsnap {
namespace {

struct Options {
  bool foreground = false;
  std::string socket;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.AddFlag("-f,--foreground", &options->foreground, "stay in the foreground");
  args.Add("AGENT_SOCK", &options->socket, "socket to listen on").Required();
  return [options]() -> Result<int> {
    std::vector<std::string> arguments;
    if (options->foreground) arguments.emplace_back("-f");
    arguments.emplace_back("--");
    arguments.push_back(options->socket);
    return ExecDaemon("ddsnap-agent", arguments);
  };
}

}  // namespace

const Command kAgent = {"agent", {}, "connect kernel and servers of this host", Declare};

}  // namespace ddsnap
