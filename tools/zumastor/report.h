// SPDX-License-Identifier: GPL-2.0
// What a command says beside its result.
#ifndef DDSNAP_TOOLS_ZUMASTOR_REPORT_H_
#define DDSNAP_TOOLS_ZUMASTOR_REPORT_H_

#include <string>

namespace ddsnap {

// "zumastor: warning: TEXT" on standard error: what went wrong without failing the command.
void Warn(const std::string& text);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_REPORT_H_
