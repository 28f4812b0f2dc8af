// SPDX-License-Identifier: GPL-2.0
// zumastor start NAME, zumastor stop NAME
#include <memory>

#include "commands.h"
#include "dm/dm.h"
#include "live_volume.h"
#include "service_manager.h"
#include "stop_volume.h"

namespace ddsnap {
namespace {

Status StartVolume(const VolumeConfig& config) {
  if (Status s = Systemctl("start", {VolumeUnit(config.name)}); !s) return s;
  if (dm::NumberOfName(OriginDmName(config.name))) return {};
  // It was active already, but a revert that was killed has taken its device.
  auto volume = LiveVolume::Open(config.name);
  return volume ? volume->BringUp() : Status(std::unexpected(volume.error()));
}

Action DeclareStep(CLI::App& app, Status (*step)(const VolumeConfig&)) {
  auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "the volume")->required();
  return [name, step]() -> Result<int> {
    auto config = ConfigFolder::Default().Load(*name);
    if (!config) return Pass(config);
    if (Status s = step(*config); !s) return Pass(s);
    return 0;
  };
}

}  // namespace

const Command kStart = {
    "start", {}, "bring a volume up", [](CLI::App& app) { return DeclareStep(app, StartVolume); }};
const Command kStop = {
    "stop", {}, "take a volume down", [](CLI::App& app) { return DeclareStep(app, StopVolume); }};

}  // namespace ddsnap
