// SPDX-License-Identifier: GPL-2.0
#include "report.h"

#include <cstdio>

namespace ddsnap {

void Warn(const std::string& text) {
  std::fprintf(stderr, "zumastor: warning: %s\n", text.c_str());
}

}  // namespace ddsnap
