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
  // Its snapshots may have waited for a /var that came only now.
  if (IsEarly(config.name))
    if (Status s = Systemctl("start", {RestUnit(config.name)}); !s) return s;
  if (dm::NumberOfName(OriginDmName(config.name))) return {};
  // It was active already, but a revert that was killed has taken its device.
  auto volume = LiveVolume::Open(config.name);
  return volume ? volume->BringUp() : Status(std::unexpected(volume.error()));
}

Action DeclareStep(Arguments& args, Status (*step)(const VolumeConfig&)) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "the volume").Required();
  return [name, step]() -> Result<int> {
    auto config = ConfigFolder::Default().Load(*name);
    if (!config) return Pass(config);
    if (Status s = step(*config); !s) return Pass(s);
    return 0;
  };
}

}  // namespace

const Command kStart = {"start", {}, "bring a volume up", [](Arguments& args) {
                          return DeclareStep(args, StartVolume);
                        }};
const Command kStop = {"stop", {}, "take a volume down", [](Arguments& args) {
                         return DeclareStep(args, StopVolume);
                       }};

}  // namespace ddsnap
