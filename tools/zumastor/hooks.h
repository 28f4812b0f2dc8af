// SPDX-License-Identifier: GPL-2.0
// The administrator's programs: /etc/zumastor/hooks.d/KIND, a program or a
// folder of programs that run in the order of their names.
#ifndef DDSNAP_TOOLS_ZUMASTOR_HOOKS_H_
#define DDSNAP_TOOLS_ZUMASTOR_HOOKS_H_

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace ddsnap {

using HookEnvironment = std::vector<std::pair<std::string, std::string>>;

// Each has 30 s.  What failed is returned; the others run all the same.
[[nodiscard]] std::vector<Error> RunHooks(const std::string& kind,
                                          const HookEnvironment& environment);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_HOOKS_H_
