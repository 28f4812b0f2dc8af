// SPDX-License-Identifier: GPL-2.0
#include "report.h"

#include <cstdio>

#include "hooks.h"

namespace ddsnap {

void Warn(const std::string& text) {
  std::fprintf(stderr, "zumastor: warning: %s\n", text.c_str());
}

void ReportEvent(const std::string& volume, const Event& event, const std::string& text) {
  LogEvent(LOG_WARNING, event, volume + ": " + text, {{"ZUMASTOR_VOLUME", volume}});
  for (const Error& failed : RunHooks("event", {{"ZUMASTOR_VOLUME", volume},
                                                {"ZUMASTOR_EVENT", event.name},
                                                {"ZUMASTOR_TEXT", text}}))
    Warn(failed.text);
}

}  // namespace ddsnap
