// SPDX-License-Identifier: GPL-2.0
#include "hooks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "host/command.h"

namespace ddsnap {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTimeLimitMs = 30000;

bool IsProgram(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// Left by editors and package managers: not meant to be run.
bool IsLeftover(const std::string& name) {
  return name.starts_with(".") || name.ends_with("~") || name.find(".dpkg-") != std::string::npos ||
         name.ends_with(".rpmsave") || name.ends_with(".rpmnew");
}

std::vector<std::string> Programs(const fs::path& path) {
  if (IsProgram(path)) return {path};
  std::vector<std::string> programs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (!IsLeftover(entry.path().filename()) && IsProgram(entry.path()))
      programs.push_back(entry.path());
  }
  std::ranges::sort(programs);
  return programs;
}

}  // namespace

std::vector<Error> RunHooks(const std::string& kind, const HookEnvironment& environment) {
  const char* folder = ::secure_getenv("ZUMASTOR_CONFDIR");
  const fs::path path = fs::path(folder != nullptr ? folder : "/etc/zumastor") / "hooks.d" / kind;
  std::vector<Error> failed;
  for (const std::string& program : Programs(path)) {
    const Status s =
        RunCommandOk({program}, {.timeout_ms = kTimeLimitMs, .environment = environment});
    if (!s) failed.push_back({s.error().code, kind + " hook " + s.error().text});
  }
  return failed;
}

}  // namespace ddsnap
