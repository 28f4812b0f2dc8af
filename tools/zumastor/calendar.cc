// SPDX-License-Identifier: GPL-2.0
#include "calendar.h"

#include <cerrno>
#include <cstring>

#include "host/command.h"

namespace ddsnap {

Status CheckCalendar(const std::string& calendar) {
  if (RunCommandOk({"systemd-analyze", "calendar", "--", calendar})) return {};
  return Fail(EINVAL, calendar + ": not a calendar as systemd.time(7) has them");
}

bool CalendarIsDue(const std::string& calendar, time_t last, time_t now) {
  auto result = RunCommand({"systemd-analyze", "calendar", "--base-time=@" + std::to_string(last),
                            "--iterations=1", "--", calendar},
                           {.timeout_ms = 10000, .environment = {{"LC_ALL", "C"}}});
  if (!result || result->status != 0) return true;
  // By local time, as the timer has it; where that is not UTC, a second line says what it is there.
  size_t at = std::string::npos;
  for (const char* head : {"(in UTC): ", "Next elapse: "}) {
    at = result->output.find(head);
    if (at == std::string::npos) continue;
    at += std::strlen(head);
    break;
  }
  if (at == std::string::npos || result->output.compare(at, 5, "never") == 0) return false;
  tm parts{};
  if (::strptime(result->output.c_str() + at, "%a %Y-%m-%d %H:%M:%S", &parts) == nullptr)
    return true;
  return ::timegm(&parts) <= now;
}

}  // namespace ddsnap
