// SPDX-License-Identifier: GPL-2.0
// The command line of a program without verbs: a daemon's.
#ifndef DDSNAP_CLI_COMMAND_LINE_H_
#define DDSNAP_CLI_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace ddsnap {

// Parses into the options that were declared on `app`, and answers --help and
// --version.  An exit code if the program is done: 0, or 2 after a line about
// wrong usage.
[[nodiscard]] std::optional<int> ParseCommandLine(CLI::App& app, const std::string& version,
                                                  int argc, char** argv);

}  // namespace ddsnap

#endif  // DDSNAP_CLI_COMMAND_LINE_H_
