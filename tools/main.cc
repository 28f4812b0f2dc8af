// SPDX-License-Identifier: GPL-2.0
// ddsnap: the tool of one snapshot store.
#include <config.h>

#include "commands.h"

using namespace ddsnap;

int main(int argc, char** argv) {
  static const Command* const kCommands[] = {
      &kInitialize,   &kAgent,        &kServer,          &kCreate,        &kDelete,
      &kBookmarkVerb, &kList,         &kStatus,          &kPriority,      &kUsecount,
      &kRevert,       &kResize,       &kDeltaChangelist, &kDeltaCreate,   &kDeltaApply,
      &kDeltaSend,    &kDeltaReceive, &kDeltaListen,     &kDeltaTransmit, &kDeltaVerify,
      &kDeltaExport,  &kDeltaImport,  &kDeltaShow,       &kCheck,         &kDump,
      &kDevspam,
  };
  const Program program = {
      .name = "ddsnap",
      .help = "Snapshots of block devices: one snapshot store and its origin",
      .version = PACKAGE_VERSION,
      .groups = {{"delta", "what differs between two snapshots"}},
  };
  return RunProgram(program, kCommands, argc, argv);
}
