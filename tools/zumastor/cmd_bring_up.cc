// SPDX-License-Identifier: GPL-2.0
// zumastor bring-up NAME, zumastor take-down NAME: for zumastor@.service
// zumastor bring-up-rest NAME: for zumastor-rest@.service
#include <memory>

#include "commands.h"
#include "live_volume.h"
#include "service_manager.h"

namespace ddsnap {
namespace {

Action DeclareStep(Arguments& args, Status (LiveVolume::*step)()) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "the volume").Required();
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
    .declare = [](Arguments& args) { return DeclareStep(args, &LiveVolume::BringUp); },
    .internal = true};
const Command kBringUpRest = {
    .name = "bring-up-rest",
    .aliases = {},
    .help = "make the devices of a volume's snapshots",
    .declare = [](Arguments& args) { return DeclareStep(args, &LiveVolume::BringUpRest); },
    .internal = true};
const Command kTakeDown = {
    .name = "take-down",
    .aliases = {},
    .help = "remove a volume's devices",
    .declare = [](Arguments& args) { return DeclareStep(args, &LiveVolume::TakeDown); },
    .internal = true};

}  // namespace ddsnap
