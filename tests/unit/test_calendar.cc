// SPDX-License-Identifier: GPL-2.0
// When a job of a calendar is due, by the real systemd-analyze.
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "host/command.h"
#include "unit.h"
#include "zumastor/calendar.h"

using namespace ddsnap;

namespace {

// By its rules: the machine may know no names of zones.
constexpr const char* kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";

time_t Utc(const char* text) {
  tm parts{};
  ck_assert_ptr_nonnull(::strptime(text, "%Y-%m-%d %H:%M", &parts));
  return ::timegm(&parts);
}

bool Due(const char* zone, const char* calendar, const char* last, const char* now) {
  ::setenv("TZ", zone, 1);
  return CalendarIsDue(calendar, Utc(last), Utc(now));
}

}  // namespace

START_TEST(due_after_its_moment) {
  ck_assert(!Due("UTC", "hourly", "2026-11-24 10:00", "2026-11-24 10:59"));
  ck_assert(Due("UTC", "hourly", "2026-11-24 10:59", "2026-11-24 11:00"));
  ck_assert(Due("UTC", "*-*-* 04:30", "2026-11-24 04:29", "2026-11-27 00:00"));
  ck_assert(!Due("UTC", "*-*-* 04:30", "2026-11-24 04:31", "2026-11-25 04:29"));
}
END_TEST

// As the timer's: midnight in Berlin is 23:00 UTC in winter, 22:00 in summer.
START_TEST(local_time) {
  ck_assert(!Due(kBerlin, "daily", "2026-11-23 23:00", "2026-11-24 22:59"));
  ck_assert(Due(kBerlin, "daily", "2026-11-24 22:59", "2026-11-24 23:00"));
  ck_assert(!Due(kBerlin, "daily", "2026-07-01 22:30", "2026-07-02 21:59"));
  ck_assert(Due(kBerlin, "daily", "2026-07-01 21:59", "2026-07-01 22:00"));
  ck_assert(Due(kBerlin, "daily UTC", "2026-11-24 23:30", "2026-11-25 00:00"));
  ck_assert(!Due(kBerlin, "daily UTC", "2026-11-24 22:59", "2026-11-24 23:59"));
}
END_TEST

START_TEST(never_again_is_not_due) {
  ck_assert(!Due("UTC", "2020-01-01", "2026-11-24 10:00", "2027-01-01 00:00"));
  ck_assert(!Due(kBerlin, "2020-01-01", "2026-11-24 10:00", "2027-01-01 00:00"));
}
END_TEST

START_TEST(a_clock_set_back_makes_nothing_due) {
  ck_assert(!Due("UTC", "hourly", "2026-11-24 10:00", "2025-01-01 00:00"));
}
END_TEST

START_TEST(what_is_a_calendar) {
  for (const char* good : {"hourly", "Mon *-*-* 04:30", "*:0/5", "Sat,Sun 20:00 UTC"})
    CK_OK(CheckCalendar(good));
  for (const char* bad : {"", "every full moon", "--version", "25:00", "hourly\ndaily"})
    ck_assert_msg(!CheckCalendar(bad), "'%s' was taken for a calendar", bad);
}
END_TEST

int main() {
  if (!RunCommandOk({"systemd-analyze", "calendar", "hourly"})) {
    std::puts("no systemd-analyze that knows calendars");
    return 77;
  }
  return unit::Run("calendar", {due_after_its_moment, local_time, never_again_is_not_due,
                                a_clock_set_back_makes_nothing_due, what_is_a_calendar});
}
