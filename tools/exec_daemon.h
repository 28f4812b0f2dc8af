// SPDX-License-Identifier: GPL-2.0
// Verbs that are programs of their own.
#ifndef DDSNAP_TOOLS_EXEC_DAEMON_H_
#define DDSNAP_TOOLS_EXEC_DAEMON_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace ddsnap {

// Becomes `program` (ddsnap-agent) of the libexec folder with these arguments;
// ZUMASTOR_LIBEXECDIR names another folder.  Returns only to fail.
[[nodiscard]] Result<int> ExecDaemon(const std::string& program,
                                     const std::vector<std::string>& arguments);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_EXEC_DAEMON_H_
