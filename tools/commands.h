// SPDX-License-Identifier: GPL-2.0
// Every verb of the ddsnap tool: defined in cmd_<verb>.cc, listed in main.cc.
#ifndef DDSNAP_TOOLS_COMMANDS_H_
#define DDSNAP_TOOLS_COMMANDS_H_

#include "cli/command_table.h"

namespace ddsnap {

extern const Command kAgent;
extern const Command kServer;

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_COMMANDS_H_
