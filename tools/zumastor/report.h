// SPDX-License-Identifier: GPL-2.0
// What a command says beside its result.
#ifndef DDSNAP_TOOLS_ZUMASTOR_REPORT_H_
#define DDSNAP_TOOLS_ZUMASTOR_REPORT_H_

#include <string>

#include "base/event.h"

namespace ddsnap {

// "zumastor: warning: TEXT" on standard error: what went wrong without failing the command.
void Warn(const std::string& text);

// Events that an administrator may want to act upon: in the journal, with a message id,
// and as a hook (/etc/zumastor/hooks.d/event).
void ReportEvent(const std::string& volume, const Event& event, const std::string& text);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_REPORT_H_
