// SPDX-License-Identifier: GPL-2.0
// Every verb of the ddsnap tool: defined in cmd_<verb>.cc, listed in main.cc.
#ifndef DDSNAP_TOOLS_COMMANDS_H_
#define DDSNAP_TOOLS_COMMANDS_H_

#include "cli/command_table.h"

namespace ddsnap {

extern const Command kAgent;
extern const Command kBookmarkVerb;
extern const Command kCheck;
extern const Command kCreate;
extern const Command kDelete;
extern const Command kDeltaApply;
extern const Command kDeltaChangelist;
extern const Command kDeltaCreate;
extern const Command kDeltaExport;
extern const Command kDeltaImport;
extern const Command kDeltaListen;
extern const Command kDeltaReceive;
extern const Command kDeltaSend;
extern const Command kDeltaShow;
extern const Command kDeltaTransmit;
extern const Command kDeltaVerify;
extern const Command kDevspam;
extern const Command kDump;
extern const Command kInitialize;
extern const Command kList;
extern const Command kPriority;
extern const Command kResize;
extern const Command kRevert;
extern const Command kServer;
extern const Command kStatus;
extern const Command kUsecount;

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_COMMANDS_H_
