// SPDX-License-Identifier: GPL-2.0
#include "options.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "cli/command_line.h"
#include "cli/options.h"

namespace ddsnap::server {
namespace {

// The agent reads these names in a folder of its own.
std::string Absolute(const std::string& name) {
  if (name.starts_with('@')) return name;
  std::error_code error;
  const auto path = std::filesystem::absolute(name, error);
  return error ? name : path.string();
}

}  // namespace

std::expected<Options, int> ParseOptions(int argc, char** argv, const std::string& version) {
  Options options;
  std::vector<std::string> operands;
  uint64_t wait = options.config.wait_ms / 1000;
  CLI::App app{"Serves one snapshot store to the kernel and to ddsnap", "ddsnap-server"};
  app.add_flag("-f,--foreground", options.foreground, "stay in the foreground");
  AddSize(app, "-k,--cache", &options.config.cache_bytes, "bound on cached metadata");
  app.add_option("--wait", wait, "seconds to wait for an attached kernel (30)");
  app.add_option("OPERANDS", operands, "STORE ORIGIN [META] AGENT_SOCK SOCK")
      ->required()
      ->expected(4, 5);
  if (const auto done = ParseCommandLine(app, version, argc, argv)) return std::unexpected(*done);
  for (std::string& operand : operands) operand = Absolute(operand);
  Config& config = options.config;
  config.wait_ms = wait * 1000;
  config.paths.store = operands[0];
  config.paths.origin = operands[1];
  if (operands.size() == 5) config.paths.meta = operands[2];
  config.agent = operands[operands.size() - 2];
  config.socket = operands[operands.size() - 1];
  const char* state_dir = ::secure_getenv("ZUMASTOR_STATEDIR");
  config.paths.state_dir = state_dir != nullptr ? state_dir : "/var/lib/zumastor";
  return options;
}

}  // namespace ddsnap::server
