// SPDX-License-Identifier: GPL-2.0
// zumastor snapshot NAME [--rotation R]
#include <cstdio>
#include <memory>

#include "cli/options.h"
#include "commands.h"
#include "report.h"
#include "snapshotting.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  std::string rotation;
  bool json = false;
};

Result<int> Run(const Options& options) {
  auto volume = LiveVolume::Open(options.name);
  if (!volume) return Pass(volume);
  std::vector<std::string> rotations;
  if (!options.rotation.empty()) {
    auto rotation = FindRotation(volume->config(), options.rotation);
    if (!rotation) return Pass(rotation);
    rotations.push_back(rotation->name);
  }
  if (Status s = volume->RequireUp(); !s) return Pass(s);
  auto tag = MakeSnapshot(*volume, rotations);
  if (!tag) return Pass(tag);
  std::printf(options.json ? "{\"tag\": %u}\n" : "%u\n", *tag);
  if (Status s = ExpireSnapshots(*volume); !s) Warn(s.error().text);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("--rotation", &options->rotation,
           "keep it as one of these: hourly, daily, weekly, monthly or custom");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kSnapshot = {"snapshot", {}, "make a snapshot and print its tag", Declare};

}  // namespace ddsnap
