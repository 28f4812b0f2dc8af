// SPDX-License-Identifier: GPL-2.0
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "lib/temp_folder.h"
#include "unit.h"
#include "volume/ini_file.h"
#include "volume/volume_config.h"

using namespace ddsnap;

namespace {

constexpr char kWritten[] =
    "# by hand\n"
    "[Volume]\n"
    "Origin = /dev/sdb   \n"
    "; the slow one\n"
    "Store=/dev/sdc\n"
    "\n"
    "[Schedule]\n"
    "Hourly=24\n"
    "Custom=Mon,Fri *-*-* \\\n  12:00,3\n";

IniFile Parsed(const std::string& text) {
  auto file = IniFile::Parse(text, "test.conf");
  ck_assert(file.has_value());
  return *file;
}

std::string Why(const std::string& text) {
  auto file = IniFile::Parse(text, "test.conf");
  if (!file) return file.error().text;
  auto config = ReadConfig("vol", *file);
  return config ? "" : config.error().text;
}

}  // namespace

START_TEST(what_a_person_wrote_stays) {
  IniFile file = Parsed(kWritten);
  ck_assert(file.text() == kWritten);
  file.Set("Schedule", "Hourly", "12");
  file.Set("Schedule", "Daily", "7");
  file.Set("Volume", "UUID", "x");
  file.Set("Mount", "MountPoint", "/srv");
  file.Remove("Schedule", "Custom");
  ck_assert(file.text() ==
            "# by hand\n[Volume]\nOrigin = /dev/sdb   \n; the slow one\nStore=/dev/sdc\n"
            "UUID=x\n\n[Schedule]\nHourly=12\nDaily=7\n\n[Mount]\nMountPoint=/srv\n");
  file.RemoveSection("Schedule");
  ck_assert(file.text() ==
            "# by hand\n[Volume]\nOrigin = /dev/sdb   \n; the slow one\nStore=/dev/sdc\n"
            "UUID=x\n\n[Mount]\nMountPoint=/srv\n");
}
END_TEST

START_TEST(a_new_file_is_made_of_its_settings) {
  IniFile file = Parsed("");
  file.Set("Volume", "Origin", "/dev/a");
  file.Set("Volume", "Store", "/dev/b");
  ck_assert(file.text() == "[Volume]\nOrigin=/dev/a\nStore=/dev/b\n");
  ck_assert(Parsed(file.text()).Get("Volume", "Store") == "/dev/b");
}
END_TEST

START_TEST(lines_go_on_and_the_last_assignment_counts) {
  const IniFile file = Parsed("[A]\nx=1 \\\n2\ny=3\\\n\nx=4\n# no \\\nz=5");
  ck_assert(file.Get("A", "y") == "3");
  ck_assert(file.Get("A", "x") == "4");
  ck_assert(file.Get("A", "z") == "5");
  ck_assert(!file.Get("B", "x"));
  ck_assert_uint_eq(file.entries().size(), 4);
  ck_assert(file.entries()[0].value == "1  2");
  ck_assert_uint_eq(file.entries()[3].line, 8);
}
END_TEST

START_TEST(nonsense_is_refused_with_its_line) {
  ck_assert(Why("[Volume\n") == "test.conf: line 1: a section is [Name]");
  ck_assert(Why("a=b\n") == "test.conf: line 1: an assignment outside of a section");
  ck_assert(Why("[Volume]\n\n=b\n") == "test.conf: line 3: neither a section nor an assignment");
  ck_assert(Why("[Volume]\nOrigin=sdb\n") ==
            "test.conf: line 2: Origin: a device is named by its whole path");
  ck_assert(Why("[Volume]\nStore=/dev/b\n") == "test.conf: no Origin in [Volume]");
  ck_assert(Why("[Schedule]\nDaily=-1\n") ==
            "test.conf: line 2: Daily: a number of snapshots to keep, 0 to 10000");
  for (const char* bad : {"daily", ",3", "daily,", "daily,0", "daily,x", "3"})
    ck_assert_msg(!Why("[Schedule]\nCustom=" + std::string(bad) + "\n").empty(), "%s", bad);
}
END_TEST

START_TEST(a_configuration_says_what_it_means) {
  auto config = ReadConfig("vol", Parsed(std::string(kWritten) + "Weekly=0\nDaily=7\nNice=1\n"));
  CK_OK(config);
  ck_assert(config->origin == "/dev/sdb" && config->store == "/dev/sdc");
  const std::vector<Rotation> want = {
      {"hourly", "hourly", 24}, {"daily", "daily", 7}, {"custom", "Mon,Fri *-*-*    12:00", 3}};
  ck_assert(config->rotations == want);
  ck_assert_uint_eq(config->warnings.size(), 1);
  ck_assert(config->warnings[0] == "test.conf: line 13: unknown setting Nice in [Schedule]");
}
END_TEST

// It is compared with what the kernel says.
START_TEST(a_mount_point_has_no_slashes_too_many) {
  struct Case {
    const char* text;
    const char* want;
  };
  for (const Case& c :
       {Case{"/srv/data", "/srv/data"}, Case{"/srv/data/", "/srv/data"},
        Case{"//srv///data//", "/srv/data"}, Case{"/", "/"}, Case{"//", "/"}, Case{"", ""}}) {
    auto config =
        ReadConfig("vol", Parsed(std::string(kWritten) + "[Mount]\nMountPoint=" + c.text + "\n"));
    CK_OK(config);
    ck_assert_str_eq(config->mountpoint.c_str(), c.want);
  }
  ck_assert(Why("[Mount]\nMountPoint=srv/\n") ==
            "test.conf: line 2: MountPoint: a mount point is a whole path");
}
END_TEST

START_TEST(names_need_no_quoting) {
  for (const char* good : {"a", "vol", "_x", "7", "a.b-c_D", "data-2024.old"})
    ck_assert_msg(CheckVolumeName(good).has_value(), "%s", good);
  for (const char* bad :
       {"", ".", "..", "-x", ".x", "a b", "a/b", "a@1", "a%i", "ä", "a\nb", "a\\"})
    ck_assert_msg(!CheckVolumeName(bad), "%s", bad);
  ck_assert(CheckVolumeName(std::string(64, 'a')).has_value());
  ck_assert(!CheckVolumeName(std::string(65, 'a')));
  ck_assert(OriginDmName("v") == "zumastor-v" && SnapshotDmName("v", 7) == "zumastor-v@7");
  ck_assert(OriginPath("v") == "/dev/zumastor/v" && SnapshotPath("v", 7) == "/dev/zumastor/v@7");
  ck_assert(ServerSocket("v") == "/run/zumastor/server/v");
}
END_TEST

START_TEST(remote_volumes_have_a_host) {
  struct Case {
    const char* text;
    RemoteVolume want;
  };
  for (const Case& c :
       {Case{"backup", {"backup", ""}}, Case{"root@backup:vol", {"root@backup", "vol"}},
        Case{"10.0.0.2:v", {"10.0.0.2", "v"}}, Case{"[fe80::1%eth0]", {"fe80::1%eth0", ""}},
        Case{"me@[::1]:vol", {"me@::1", "vol"}}}) {
    auto remote = ParseRemote(c.text);
    ck_assert_msg(remote.has_value() && *remote == c.want, "%s", c.text);
  }
  for (const char* bad :
       {"", ":vol", "@host", "-oProxyCommand=x", "a@-x", "host:", "host:a/b", "host:-v", "a b",
        "host;x", "[::1", "[]", "[::1]x", "h$(x)", "a@b@c", "file:/srv/x"})
    ck_assert_msg(!ParseRemote(bad), "%s", bad);
  ck_assert(!ParseRemote(std::string(300, 'a')));
  CK_OK(CheckTargetName("file:/srv/deltas of vol"));
  for (const char* bad : {"file:", "file:srv", "file:/a]b", "file:/a\nb", "-x"})
    ck_assert_msg(!CheckTargetName(bad), "%s", bad);
  ck_assert(FolderOfTarget("file:/srv/x") == "/srv/x" && !FolderOfTarget("host"));
}
END_TEST

START_TEST(targets_and_the_source_have_sections) {
  const std::string volume = "[Volume]\nOrigin=/dev/a\nStore=/dev/b\n";
  auto config =
      ReadConfig("vol", Parsed(volume + "[Target backup:copy]\nPeriod=daily\nRateLimit=10M\n"
                                        "[Target file:/srv/d]\n[Target [::1]:v]\nNice=1\n"));
  CK_OK(config);
  ck_assert(!config->source);
  const std::vector<TargetConfig> want = {
      {"backup:copy", "daily", 10 << 20}, {"[::1]:v", "", 0}, {"file:/srv/d", "", 0}};
  ck_assert(config->targets == want);
  ck_assert_uint_eq(config->warnings.size(), 1);
  config = ReadConfig("vol", Parsed(volume + "[Source]\nHost=up:data\nKeep=3\nPeriod=hourly\n"));
  CK_OK(config);
  const SourceConfig source = {"up:data", "hourly", 3};
  ck_assert(config->source == source);
  struct Bad {
    const char* text;
    const char* why;
  };
  for (const Bad& bad :
       {Bad{"[Target -x]\n", "is not [USER@]HOST[:VOLUME]"},
        Bad{"[Target a]\nRateLimit=x\n", "bytes a second"},
        Bad{"[Target a]\nRateLimit=99999999999T\n", "bytes a second"},
        Bad{"[Source]\nKeep=2\n", "no Host"}, Bad{"[Source]\nHost=a\nKeep=0\n", "1 to 10000"},
        Bad{"[Source]\nHost=-a\n", "HOST"},
        Bad{"[Source]\nHost=a\n[Schedule]\nDaily=1\n", "no [Schedule]"}}) {
    const std::string why = Why(volume + bad.text);
    ck_assert_msg(why.find(bad.why) != std::string::npos, "%s: '%s'", bad.text, why.c_str());
  }
  IniFile file = Parsed(volume);
  file.AddSection(TargetSection("backup"));
  file.AddSection(TargetSection("backup"));
  ck_assert(file.text() == volume + "\n[Target backup]\n");
}
END_TEST

START_TEST(the_folder_has_one_file_for_each_volume) {
  const test::TempFolder folder;
  const ConfigFolder config(folder / "etc");
  ck_assert(config.List()->empty());
  ck_assert(config.Load("vol").error().text == "vol: no such volume");
  ck_assert(config.Remove("vol").error().text == "vol: no such volume");
  ck_assert(!config.Save("../x", Parsed(kWritten)));
  ck_assert(!config.Save("vol", Parsed("[Volume]\n")));
  ck_assert(config.List()->empty());
  CK_OK(config.Save("vol", Parsed(kWritten)));
  CK_OK(config.Save("b", Parsed(kWritten)));
  CK_OK(config.Save("b", Parsed(kWritten)));
  std::ofstream(folder / "etc/volumes/no name.conf") << "x";
  std::ofstream(folder / "etc/volumes/vol.conf~") << "x";
  ck_assert((*config.List() == std::vector<std::string>{"b", "vol"}));
  ck_assert(config.Load("vol")->store == "/dev/sdc");
  ck_assert(config.LoadFile("vol")->text() == kWritten);
  CK_OK(config.Remove("b"));
  ck_assert((*config.List() == std::vector<std::string>{"vol"}));
  // No temporary file is left behind.
  ck_assert_uint_eq(static_cast<size_t>(std::distance(
                        std::filesystem::directory_iterator(folder / "etc/volumes"), {})),
                    3);
}
END_TEST

UNIT_MAIN("volume_config", what_a_person_wrote_stays, a_new_file_is_made_of_its_settings,
          lines_go_on_and_the_last_assignment_counts, nonsense_is_refused_with_its_line,
          a_configuration_says_what_it_means, a_mount_point_has_no_slashes_too_many,
          names_need_no_quoting, remote_volumes_have_a_host, targets_and_the_source_have_sections,
          the_folder_has_one_file_for_each_volume)
