// SPDX-License-Identifier: GPL-2.0
#include "cli/command_table.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>

#include "cli/command_line.h"

namespace ddsnap {
namespace {

constexpr int kFailed = 1;

// Declares one spelling of a verb; the callback stores the action to be run
// after parsing, for CLI11 runs callbacks inside its parser.
void Declare(CLI::App& app, const Program& program, const Command& command,
             const std::string& spelling, bool hidden, Action* chosen) {
  CLI::App* parent = &app;
  std::string word = spelling;
  if (const size_t space = spelling.find(' '); space != std::string::npos) {
    const std::string group = spelling.substr(0, space);
    word = spelling.substr(space + 1);
    const auto groups =
        app.get_subcommands([&group](const CLI::App* known) { return known->get_name() == group; });
    if (!groups.empty()) {
      parent = groups.front();
    } else {
      std::string help;
      for (const auto& [name, text] : program.groups) {
        if (name == group) help = text;
      }
      parent = app.add_subcommand(group, help);
      parent->require_subcommand(1);
    }
  }
  CLI::App* verb = parent->add_subcommand(word, command.help);
  if (hidden) verb->group("");
  Arguments args(*verb);
  Action action = command.declare(args);
  verb->callback([chosen, action] { *chosen = action; });
}

// Our code returns its errors; libraries that throw (JSON of an unexpected shape)
// must not end in a core dump.
Result<int> RunAction(const Action& action) {
  try {
    return action();
  } catch (const std::exception& e) {
    return Fail(EPROTO, std::string("unexpected: ") + e.what());
  }
}

// An error is one line, and no operand that it names can make it do things to a terminal.
std::string OneLine(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  return text;
}

}  // namespace

int RunProgram(const Program& program, std::span<const Command* const> commands, int argc,
               char** argv) {
  Action chosen;
  CLI::App app{program.help, program.name};
  app.require_subcommand(1);
  for (const Command* command : commands) {
    Declare(app, program, *command, command->name, command->internal, &chosen);
    for (const std::string& alias : command->aliases) {
      Declare(app, program, *command, alias, true, &chosen);
    }
  }
  if (const auto done = ParseCommandLine(app, program.version, argc, argv)) return *done;
  Result<int> result = RunAction(chosen);
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), OneLine(result.error().text).c_str());
    return kFailed;
  }
  if (std::fflush(stdout) != 0) {
    std::fprintf(stderr, "%s: standard output: %s\n", program.name.c_str(),
                 FailErrno(errno, "write").error().text.c_str());
    return kFailed;
  }
  return *result;
}

}  // namespace ddsnap
