// SPDX-License-Identifier: GPL-2.0
// Running other programs.
//
// Thread rule: one thread; a call blocks until the program is done.
#ifndef DDSNAP_HOST_COMMAND_H_
#define DDSNAP_HOST_COMMAND_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace ddsnap {

struct CommandOptions {
  uint64_t timeout_ms = 0;  // 0: none
  // Added to the environment.
  std::vector<std::pair<std::string, std::string>> environment;
};

struct CommandResult {
  int status = 0;      // exit code; 128 and the signal's number for a killed one
  std::string output;  // both of its outputs, at most 64 KiB of them
};

// Runs argv[0], looked up in PATH, in a process group of its own, with nothing to read.
// ETIMEDOUT when its time is up: the whole group has been killed by then.
[[nodiscard]] Result<CommandResult> RunCommand(const std::vector<std::string>& argv,
                                               const CommandOptions& options = {});

// The same; an error "PROGRAM: last line of its output" unless its status is 0.
[[nodiscard]] Status RunCommandOk(const std::vector<std::string>& argv,
                                  const CommandOptions& options = {});

// The last line that is not empty.
[[nodiscard]] std::string LastLine(const std::string& text);

}  // namespace ddsnap

#endif  // DDSNAP_HOST_COMMAND_H_
