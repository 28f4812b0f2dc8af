// SPDX-License-Identifier: GPL-2.0
// Calendars of systemd.time(7), by systemd-analyze(1): only systemd knows what it takes for one.
#ifndef DDSNAP_TOOLS_ZUMASTOR_CALENDAR_H_
#define DDSNAP_TOOLS_ZUMASTOR_CALENDAR_H_

#include <ctime>
#include <string>

#include "base/status.h"

namespace ddsnap {

// EINVAL: it is none.
[[nodiscard]] Status CheckCalendar(const std::string& calendar);

// Whether the calendar has had a moment after `last`: its next one, seen from there, is not in the
// future.
[[nodiscard]] bool CalendarIsDue(const std::string& calendar, time_t last, time_t now);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_CALENDAR_H_
