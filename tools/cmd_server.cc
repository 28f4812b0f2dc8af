// SPDX-License-Identifier: GPL-2.0
// ddsnap server [-f] [-k CACHESIZE] STORE ORIGIN [META] AGENT_SOCK SOCK
#include <memory>

#include "cli/options.h"
#include "commands.h"
#include "exec_daemon.h"

namespace ddsnap {
namespace {

struct Options {
  bool foreground = false;
  uint64_t cache = 0;
  std::vector<std::string> operands;
};

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.AddFlag("-f,--foreground", &options->foreground, "stay in the foreground");
  AddSize(args, "-k,--cache", &options->cache, "bound on cached metadata");
  args.Add("OPERANDS", &options->operands, "STORE ORIGIN [META] AGENT_SOCK SOCK")
      .Required()
      .Count(4, 5);
  return [options]() -> Result<int> {
    std::vector<std::string> arguments;
    if (options->foreground) arguments.emplace_back("-f");
    if (options->cache != 0) {
      arguments.emplace_back("-k");
      arguments.push_back(std::to_string(options->cache));
    }
    arguments.emplace_back("--");
    for (const std::string& operand : options->operands) arguments.push_back(operand);
    return ExecDaemon("ddsnap-server", arguments);
  };
}

}  // namespace

const Command kServer = {"server", {}, "serve one snapshot store", Declare};

}  // namespace ddsnap
