// SPDX-License-Identifier: GPL-2.0
// The server's command line.
#ifndef DDSNAP_SERVER_OPTIONS_H_
#define DDSNAP_SERVER_OPTIONS_H_

#include <expected>
#include <string>

#include "server.h"

namespace ddsnap::server {

struct Options {
  Config config;  // with absolute paths
  bool foreground = false;
};

// The options, or the exit code of a program that is done.
[[nodiscard]] std::expected<Options, int> ParseOptions(int argc, char** argv,
                                                       const std::string& version);

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_OPTIONS_H_
