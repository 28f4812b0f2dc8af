// SPDX-License-Identifier: GPL-2.0
#include "options.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/uuid.h"
#include "cli/command_line.h"
#include "cli/options.h"
#include "volume/volume_config.h"

namespace ddsnap::server {
namespace {

// The agent reads these names in a folder of its own.
std::string Absolute(const std::string& name) {
  if (name.starts_with('@')) return name;
  std::error_code error;
  const auto path = std::filesystem::absolute(name, error);
  return error ? name : path.string();
}

void TakeOperands(std::vector<std::string> operands, Config* config) {
  for (std::string& operand : operands) operand = Absolute(operand);
  config->paths.store = operands[0];
  config->paths.origin = operands[1];
  if (operands.size() == 5) config->paths.meta = operands[2];
  config->agent = operands[operands.size() - 2];
  config->socket = operands[operands.size() - 1];
}

// What `zumastor define` has written down for the volume.
Status TakeVolume(const std::string& name, Config* config) {
  auto volume = ConfigFolder::Default().Load(name);
  if (!volume) return Pass(volume);
  config->volume = name;
  config->paths.store = volume->store;
  config->paths.origin = volume->origin;
  config->paths.meta = volume->metadata;
  config->agent = kAgentSocket;
  config->socket = ServerSocket(name);
  if (volume->uuid.empty()) return {};
  auto uuid = ParseUuid(volume->uuid);
  if (!uuid) return Fail(EINVAL, ConfigFolder::Default().PathOf(name) + ": UUID: no UUID");
  config->expected_uuid = *uuid;
  return {};
}

}  // namespace

std::expected<Options, int> ParseOptions(int argc, char** argv, const std::string& version) {
  Options options;
  std::vector<std::string> operands;
  std::string volume;
  uint64_t wait = options.config.wait_ms / 1000;
  CommandLine line("ddsnap-server", "Serves one snapshot store to the kernel and to ddsnap");
  Arguments& args = line.arguments();
  args.AddFlag("-f,--foreground", &options.foreground, "stay in the foreground");
  AddSize(args, "-k,--cache", &options.config.cache_bytes, "bound on cached metadata");
  args.Add("--wait", &wait, "seconds to wait for an attached kernel (30)");
  Argument named = args.Add("--volume", &volume, "serve this volume of /etc/zumastor/volumes");
  Argument given = args.Add("OPERANDS", &operands, "STORE ORIGIN [META] AGENT_SOCK SOCK")
                    .Count(4, 5)
                    .Excludes(named);
  if (const auto done = line.Parse(version, argc, argv)) return std::unexpected(*done);
  if (volume.empty() && !given.given()) {
    std::fprintf(stderr, "ddsnap-server: usage: STORE ORIGIN [META] AGENT_SOCK SOCK, or --volume\n");
    return std::unexpected(2);
  }
  Config& config = options.config;
  config.wait_ms = wait * 1000;
  if (volume.empty()) {
    TakeOperands(std::move(operands), &config);
  } else if (const Status s = TakeVolume(volume, &config); !s) {
    Log(LOG_ERR, s.error().text);
    return std::unexpected(1);
  }
  const char* state_dir = ::secure_getenv("ZUMASTOR_STATEDIR");
  config.paths.state_dir = state_dir != nullptr ? state_dir : "/var/lib/zumastor";
  return options;
}

}  // namespace ddsnap::server
