// SPDX-License-Identifier: GPL-2.0
// ddsnap dump STORE [META]
#include <cerrno>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "cli/options.h"
#include "store/dumper.h"
#include "store_devices.h"

namespace ddsnap {
namespace {

struct Options {
  bool json = false;
  StorePaths paths;
};

Result<int> Run(const Options& options) {
  auto devices = StoreDevices::Open(options.paths, false);
  if (!devices) return Pass(devices);
  const auto print = [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); };
  if (Status s = DumpStore(devices->store(), devices->meta(), options.json, print); !s) {
    return Pass(s);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return FailErrno(errno, "standard output");
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  AddStorePaths(args, &options->paths);
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDump = {"dump", {}, "print a store that no server is using", Declare};

}  // namespace ddsnap
