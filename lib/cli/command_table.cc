// SPDX-License-Identifier: GPL-2.0
#include "cli/command_table.h"

#include <cerrno>
#include <cstdio>

namespace ddsnap {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Declares one spelling of a verb; the callback stores the action to be run
// after parsing, for CLI11 runs callbacks inside its parser.
void Declare(CLI::App& app, const Program& program, const Command& command,
             const std::string& spelling, bool hidden, Action* chosen) {
  CLI::App* parent = &app;
  std::string word = spelling;
  if (const size_t space = spelling.find(' '); space != std::string::npos) {
    const std::string group = spelling.substr(0, space);
    word = spelling.substr(space + 1);
    const auto groups = app.get_subcommands(
        [&group](const CLI::App* known) { return known->get_name() == group; });
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
  Action action = command.declare(*verb);
  verb->callback([chosen, action] { *chosen = action; });
}

// CLI11 words its errors in sentences; ours are one line without a full stop.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return text;
}

}  // namespace

int RunProgram(const Program& program, std::span<const Command* const> commands, int argc,
               char** argv) {
  Action chosen;
  CLI::App app{program.help, program.name};
  app.set_version_flag("--version", program.name + " " + program.version);
  app.require_subcommand(1);
  for (const Command* command : commands) {
    Declare(app, program, *command, command->name, false, &chosen);
    for (const std::string& alias : command->aliases) {
      Declare(app, program, *command, alias, true, &chosen);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& e) {
    const bool no_verb = app.get_subcommands().empty() && !app.remaining().empty();
    const std::string why = no_verb ? app.remaining().front() + ": no such verb" : OneLine(e.what());
    std::fprintf(stderr, "%s: usage: %s\n", program.name.c_str(), why.c_str());
    return kUsage;
  }
  Result<int> result = chosen();
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), result.error().text.c_str());
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
