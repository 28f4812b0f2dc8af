// SPDX-License-Identifier: GPL-2.0
// zumastor: the tool of named volumes.
#include <config.h>

#include "base/log.h"
#include "commands.h"

using namespace ddsnap;

int main(int argc, char** argv) {
  static const Command* const kCommands[] = {
      &kDefineVolume, &kDefineSchedule, &kDefineTarget, &kDefineSource, &kForget,
      &kStart,        &kStop,           &kSnapshot,     &kDelete,       &kReplicate,
      &kVerify,       &kList,           &kStatus,       &kRevert,       &kResize,
      &kRestore,      &kReceive,        &kSend,         &kBringUp,      &kBringUpRest,
      &kTakeDown,     &kRunSchedule,    &kRunDeltas,    &kThaw,         &kRunEvents,
  };
  const Program program = {
      .name = "zumastor",
      .help = "Volumes with snapshots: defined once, there after every boot",
      .version = PACKAGE_VERSION,
      .groups = {{"define", "volumes and what is done with them"}},
  };
  LogSetup("zumastor", false);
  return RunProgram(program, kCommands, argc, argv);
}
