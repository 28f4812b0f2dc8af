// SPDX-License-Identifier: GPL-2.0
// zumastor bring-up NAME, zumastor take-down NAME: for zumastor@.service
#include <memory>

#include "commands.h"
#include "live_volume.h"
#include "service_manager.h"

namespace ddsnap {
namespace {

Action DeclareStep(CLI::App& app, Status (LiveVolume::*step)()) {
  auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "the volume")->required();
  return [name, step]() -> Result<int> {
    auto volume = LiveVolume::Open(*name);
    const Status s = volume ? ((*volume).*step)() : Status(std::unexpected(volume.error()));
    if (s) return 0;
    TellFailure(s.error());
    return std::unexpected(s.error());
  };
}

}  // namespace

const Command kBringUp = {
    .name = "bring-up",
    .aliases = {},
    .help = "make a volume's devices",
    .declare = [](CLI::App& app) { return DeclareStep(app, &LiveVolume::BringUp); },
    .internal = true};
const Command kTakeDown = {
    .name = "take-down",
    .aliases = {},
    .help = "remove a volume's devices",
    .declare = [](CLI::App& app) { return DeclareStep(app, &LiveVolume::TakeDown); },
    .internal = true};

}  // namespace ddsnap
