// SPDX-License-Identifier: GPL-2.0
// The command line of a program without verbs: a daemon's.
#ifndef DDSNAP_CLI_COMMAND_LINE_H_
#define DDSNAP_CLI_COMMAND_LINE_H_

#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.h"

namespace ddsnap {

class CommandLine {
 public:
  // `help`: one line on what the program does.
  CommandLine(const std::string& program, const std::string& help);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
  ~CommandLine();

  [[nodiscard]] Arguments& arguments() { return arguments_; }
  // As ParseCommandLine.
  [[nodiscard]] std::optional<int> Parse(const std::string& version, int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
  Arguments arguments_;
};

// Parses into the options that were declared on `app`, and answers --help and
// --version.  An exit code if the program is done: 0, or 2 after a line about
// wrong usage.
[[nodiscard]] std::optional<int> ParseCommandLine(CLI::App& app, const std::string& version,
                                                  int argc, char** argv);

}  // namespace ddsnap

#endif  // DDSNAP_CLI_COMMAND_LINE_H_
