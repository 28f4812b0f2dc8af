// SPDX-License-Identifier: GPL-2.0
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace ddsnap {
namespace {

constexpr int kUsage = 2;

// CLI11 words its errors in sentences; ours are one line without a full stop.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return text;
}

}  // namespace

CommandLine::CommandLine(const std::string& program, const std::string& help)
    : app_(std::make_unique<CLI::App>(help, program)), arguments_(*app_) {}

CommandLine::~CommandLine() = default;

std::optional<int> CommandLine::Parse(const std::string& version, int argc, char** argv) {
  return ParseCommandLine(*app_, version, argc, argv);
}

std::optional<int> ParseCommandLine(CLI::App& app, const std::string& version, int argc,
                                    char** argv) {
  app.set_version_flag("--version", app.get_name() + " " + version);
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& e) {
    const auto rest = app.remaining();
    const bool no_verb =
        app.get_require_subcommand_min() > 0 && app.get_subcommands().empty() && !rest.empty();
    const std::string why = no_verb ? rest.front() + ": no such verb" : OneLine(e.what());
    std::fprintf(stderr, "%s: usage: %s\n", app.get_name().c_str(), why.c_str());
    return kUsage;
  }
}

}  // namespace ddsnap
