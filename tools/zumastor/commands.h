// SPDX-License-Identifier: GPL-2.0
// Every verb of the zumastor tool: defined in cmd_<verb>.cc, listed in main.cc.
#ifndef DDSNAP_TOOLS_ZUMASTOR_COMMANDS_H_
#define DDSNAP_TOOLS_ZUMASTOR_COMMANDS_H_

#include "cli/command_table.h"

namespace ddsnap {

extern const Command kBringUp;
extern const Command kBringUpRest;
extern const Command kDefineSchedule;
extern const Command kDefineSource;
extern const Command kDefineTarget;
extern const Command kDefineVolume;
extern const Command kDelete;
extern const Command kForget;
extern const Command kList;
extern const Command kReceive;
extern const Command kReplicate;
extern const Command kResize;
extern const Command kRestore;
extern const Command kRevert;
extern const Command kRunDeltas;
extern const Command kRunEvents;
extern const Command kRunSchedule;
extern const Command kSend;
extern const Command kSnapshot;
extern const Command kStart;
extern const Command kStatus;
extern const Command kStop;
extern const Command kTakeDown;
extern const Command kThaw;
extern const Command kVerify;

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_COMMANDS_H_
