// SPDX-License-Identifier: GPL-2.0
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "host/event_queue.h"
#include "lib/temp_folder.h"
#include "unit.h"

using namespace ddsnap;
using ddsnap::test::TempFolder;

namespace {

std::optional<EventEnvironment> Take(const EventQueue& queue) {
  auto event = queue.Take();
  CK_OK(event);
  return *event;
}

}  // namespace

START_TEST(events_are_taken_once_and_in_order) {
  const TempFolder folder;
  const EventQueue queue(folder / "events");
  ck_assert(!Take(queue).has_value());
  for (const char* text : {"first", "second", "third"})
    CK_OK(queue.Put({{"ZUMASTOR_VOLUME", "vol"}, {"ZUMASTOR_TEXT", text}}));
  struct stat st {};
  ck_assert_int_eq(::stat((folder / "events").c_str(), &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0700);
  for (const char* text : {"first", "second", "third"}) {
    const auto event = Take(queue);
    ck_assert(event.has_value());
    ck_assert((*event == EventEnvironment{{"ZUMASTOR_VOLUME", "vol"}, {"ZUMASTOR_TEXT", text}}));
  }
  ck_assert(!Take(queue).has_value());
}
END_TEST

START_TEST(an_events_text_adds_no_variables) {
  const TempFolder folder;
  const EventQueue queue(folder.path());
  CK_OK(queue.Put({{"ZUMASTOR_TEXT", "a\nZUMASTOR_TAG=7\nPATH=/tmp"}}));
  const auto event = Take(queue);
  ck_assert((*event == EventEnvironment{{"ZUMASTOR_TEXT", "a ZUMASTOR_TAG=7 PATH=/tmp"}}));
  // Nor do other files in the folder.
  std::ofstream(folder / "1") << "PATH=/tmp\nLD_PRELOAD=x\nno assignment\n";
  ck_assert(Take(queue)->empty());
  ck_assert(!Take(queue).has_value());
}
END_TEST

START_TEST(what_is_not_complete_is_not_taken) {
  const TempFolder folder;
  const EventQueue queue(folder.path());
  std::ofstream(folder / ".part") << "ZUMASTOR_TEXT=half";
  ck_assert(!Take(queue).has_value());
  // What cannot be an event goes as well: it must not start the service for ever.
  std::filesystem::create_directories(folder / "0/below");
  ck_assert(Take(queue)->empty());
  ck_assert(!std::filesystem::exists(folder / "0"));
}
END_TEST

START_TEST(events_that_nobody_takes_are_bounded) {
  const TempFolder folder;
  const EventQueue queue(folder.path());
  for (size_t i = 0; i < EventQueue::kMaxWaiting; ++i) CK_OK(queue.Put({{"ZUMASTOR_TEXT", "x"}}));
  const Status full = queue.Put({{"ZUMASTOR_TEXT", "x"}});
  ck_assert(!full && full.error().code == ENOSPC);
  ck_assert(Take(queue).has_value());
  CK_OK(queue.Put({{"ZUMASTOR_TEXT", "x"}}));
}
END_TEST

UNIT_MAIN("event_queue", events_are_taken_once_and_in_order, an_events_text_adds_no_variables,
          what_is_not_complete_is_not_taken, events_that_nobody_takes_are_bounded)
