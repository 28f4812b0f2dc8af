// SPDX-License-Identifier: GPL-2.0
// A program with verbs, as a table: one Command per verb, one parser for all.
//
// Exit codes: 0 done; 1 failed, with one line "PROGRAM: WHAT: WHY" on standard
// error; 2 wrong usage, likewise.  A verb may return others of its own.
//
// Thread rule: one thread.
#ifndef DDSNAP_CLI_COMMAND_TABLE_H_
#define DDSNAP_CLI_COMMAND_TABLE_H_

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/arguments.h"

namespace ddsnap {

// What a verb does once its options are parsed; the value is the exit code.
using Action = std::function<Result<int>()>;

struct Command {
  // "create", or "delta create" for a verb of a group.
  std::string name;
  // Other spellings, same form; not listed in the help.
  std::vector<std::string> aliases;
  std::string help;  // one line
  // Declares the verb's options and operands on `args`.  Called once for each
  // spelling, before anything is parsed: options are bound to state that the
  // returned action owns (a shared_ptr to a struct of options).
  std::function<Action(Arguments& args)> declare;
  bool internal = false;  // for our own units: not listed in the help
};

struct Program {
  std::string name;
  std::string help;  // one line
  std::string version;
  // Help of the groups: {"delta", "changelists and deltas"}.
  std::vector<std::pair<std::string, std::string>> groups;
};

// Parses the command line, runs the verb, prints its error: a whole main().
[[nodiscard]] int RunProgram(const Program& program, std::span<const Command* const> commands,
                             int argc, char** argv);

}  // namespace ddsnap

#endif  // DDSNAP_CLI_COMMAND_TABLE_H_
