// SPDX-License-Identifier: GPL-2.0
// lib/host as far as it goes without a machine of its own: programs, mounts, names.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "host/command.h"
#include "host/device_names.h"
#include "host/freeze.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "lib/temp_folder.h"
#include "unit.h"

using namespace ddsnap;
using test::TempFolder;

START_TEST(programs_answer) {
  auto both = RunCommand({"sh", "-c", "echo out; echo err >&2; exit 3"});
  CK_OK(both);
  ck_assert_int_eq(both->status, 3);
  ck_assert(both->output == "out\nerr\n");
  auto told =
      RunCommand({"sh", "-c", "echo $A; cat"}, {.timeout_ms = 0, .environment = {{"A", "b c"}}});
  CK_OK(told);
  ck_assert_int_eq(told->status, 0);  // cat has nothing to read
  ck_assert(told->output == "b c\n");
  auto killed = RunCommand({"sh", "-c", "kill -TERM $$"});
  CK_OK(killed);
  ck_assert_int_eq(killed->status, 128 + SIGTERM);
  auto absent = RunCommand({"/no/such/program"});
  CK_OK(absent);
  ck_assert_int_eq(absent->status, 127);
}
END_TEST

START_TEST(much_output_is_read_and_cut) {
  auto result = RunCommand({"sh", "-c",
                            "i=0; while [ $i -lt 3000 ]; do echo "
                            "0123456789012345678901234567890123456789; i=$((i+1)); done; exit 5"});
  CK_OK(result);
  ck_assert_int_eq(result->status, 5);
  ck_assert_uint_eq(result->output.size(), 64 * 1024);
}
END_TEST

START_TEST(a_failure_is_the_last_line) {
  CK_OK(RunCommandOk({"true"}));
  const Status said = RunCommandOk({"sh", "-c", "echo first; echo 'why not'; echo; exit 1"});
  ck_assert(!said && said.error().text == "sh: why not");
  const Status silent = RunCommandOk({"sh", "-c", "exit 7"});
  ck_assert(!silent && silent.error().text == "sh: exit status 7");
  ck_assert(LastLine("a\n b \n\n") == " b");
  ck_assert(LastLine("one") == "one");
  ck_assert(LastLine(" \n\t").empty());
}
END_TEST

START_TEST(a_program_that_takes_too_long_is_killed_with_its_children) {
  const TempFolder folder;
  const std::string note = folder / "pid";
  // The child keeps the output open: its death alone ends the wait of the next line.
  auto late = RunCommand({"sh", "-c", "sleep 1000 & echo $! >" + note + "; wait"},
                         {.timeout_ms = 1000, .environment = {}});
  ck_assert(!late && late.error().code == ETIMEDOUT);
  pid_t child = 0;
  std::ifstream(note) >> child;
  ck_assert_int_gt(child, 0);
  // Dead, or a zombie that waits for whoever adopted it.
  std::string state = "X";
  for (int i = 0; i < 2000 && ::kill(child, 0) == 0; ++i) {
    std::string pid, name;
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    if (!(stat >> pid >> name >> state) || state == "Z") break;
    ::usleep(10000);
  }
  ck_assert_msg(::kill(child, 0) != 0 || state == "Z", "the child goes on, state %s",
                state.c_str());
}
END_TEST

START_TEST(mounts_are_found) {
  auto proc = MountedAt("/proc");
  CK_OK(proc);
  ck_assert_str_eq(proc->c_str(), "proc");
  const TempFolder folder;
  auto nothing = MountedAt(folder.path());
  CK_OK(nothing);
  ck_assert(nothing->empty());
  struct stat st {};
  ck_assert_int_eq(::stat("/proc", &st), 0);
  auto mounts = MountsOf(
      {static_cast<uint32_t>(st.st_dev >> 8 & 0xfff), static_cast<uint32_t>(st.st_dev & 0xff)});
  CK_OK(mounts);
  bool found = false;
  for (const Mount& mount : *mounts)
    found = found || (mount.target == "/proc" && mount.type == "proc");
  ck_assert(found);
  auto absent = DescribeUse(folder / "absent");
  ck_assert(!absent && absent.error().code == ENOENT);
  std::ofstream(folder / "file") << "x";
  auto unused = DescribeUse(folder / "file");
  CK_OK(unused);
  ck_assert_msg(unused->empty(), "%s", unused->c_str());
}
END_TEST

START_TEST(what_cannot_be_frozen_says_so) {
  // Neither as root nor as anybody else.
  auto frozen = FrozenFileSystem::Freeze("/proc", 1000);
  ck_assert(!frozen);
  ck_assert(frozen.error().text.starts_with("/proc"));
  auto absent = FrozenFileSystem::Freeze("/no/such/folder", 1000);
  ck_assert(!absent && absent.error().code == ENOENT);
  const Status thawed = ThawIfFrozen("/no/such/folder");
  ck_assert(!thawed && thawed.error().code == ENOENT);
}
END_TEST

START_TEST(names_that_follow_from_contents) {
  ck_assert(IsContentName("/dev/disk/by-uuid/1234"));
  ck_assert(IsContentName("disk/by-label/data"));
  ck_assert(IsContentName("/dev/disk/by-id/lvm-pv-uuid-dn3rbc-jAZn"));
  ck_assert(!IsContentName("/dev/disk/by-id/wwn-1"));
  ck_assert(!IsContentName("/dev/zumastor/by-uuid/1234"));
  ck_assert(StableName("/dev/mapper/x") == "/dev/mapper/x");
  ck_assert(StableName("/no/such/device") == "/no/such/device");
}
END_TEST

START_TEST(a_device_that_does_not_come_is_named) {
  const Status late = WaitForDevice("/dev/no/such/device", 200);
  ck_assert(!late && late.error().code == ETIMEDOUT);
  ck_assert(late.error().text.starts_with("/dev/no/such/device: "));
  const Status other = WaitForName("/dev/null", {1, 2}, 200);  // not a block device
  ck_assert(!other && other.error().code == ETIMEDOUT);
}
END_TEST

UNIT_MAIN("host", programs_answer, much_output_is_read_and_cut, a_failure_is_the_last_line,
          a_program_that_takes_too_long_is_killed_with_its_children, mounts_are_found,
          what_cannot_be_frozen_says_so, names_that_follow_from_contents,
          a_device_that_does_not_come_is_named)
