// SPDX-License-Identifier: GPL-2.0
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>
#include <set>

#include "lib/temp_folder.h"
#include "unit.h"
#include "volume/records.h"
#include "volume/rotation.h"
#include "volume/unit_name.h"

using namespace ddsnap;
using ddsnap::test::TempFolder;

namespace {

// Local time of Berlin, which has summer time; "YYYY-MM-DD hh:mm" in UTC.
time_t Utc(const char* text) {
  ::setenv("TZ", "Europe/Berlin", 1);
  ::tzset();
  tm parts{};
  ck_assert_ptr_nonnull(::strptime(text, "%Y-%m-%d %H:%M", &parts));
  return ::timegm(&parts);
}

bool Due(const char* rotation, const char* last, const char* now) {
  return IsDue(rotation, Utc(last), Utc(now));
}

}  // namespace

START_TEST(a_period_has_one_snapshot) {
  ck_assert(IsDue("hourly", std::nullopt, Utc("2026-11-24 10:00")));
  ck_assert(!Due("hourly", "2026-11-24 10:00", "2026-11-24 10:59"));
  ck_assert(Due("hourly", "2026-11-24 10:59", "2026-11-24 11:00"));
  // Midnight in Berlin is 23:00 UTC.
  ck_assert(!Due("daily", "2026-11-23 23:00", "2026-11-24 22:59"));
  ck_assert(Due("daily", "2026-11-24 22:59", "2026-11-24 23:00"));
  // 2026-11-23 is a Monday.
  ck_assert(!Due("weekly", "2026-11-22 23:00", "2026-11-29 22:59"));
  ck_assert(Due("weekly", "2026-11-22 22:59", "2026-11-22 23:00"));
  ck_assert(!Due("weekly", "2026-12-28 12:00", "2027-01-01 12:00"));
  ck_assert(!Due("monthly", "2026-10-31 23:00", "2026-11-30 22:59"));
  ck_assert(Due("monthly", "2026-10-31 22:59", "2026-10-31 23:00"));
  ck_assert(Due("monthly", "2025-11-24 10:00", "2026-11-24 10:00"));
}
END_TEST

// A little: it goes on where it was.  By more: what was remembered is of a wrong clock.
START_TEST(a_clock_set_back_makes_nothing_due_or_all) {
  for (const char* rotation : {"hourly", "daily", "weekly", "monthly"}) {
    // Another hour, day, week and month, in Berlin: it is the 1st of June, a Monday.
    ck_assert(!Due(rotation, "2026-05-31 22:30", "2026-05-31 21:30"));
    ck_assert(Due(rotation, "2026-05-31 22:30", "2026-05-31 21:29"));
    ck_assert(Due(rotation, "2026-11-24 10:00", "2025-01-01 00:00"));
  }
  ck_assert(!LiesAhead(4600, 1000) && LiesAhead(4601, 1000) && !LiesAhead(1000, 4601));
}
END_TEST

START_TEST(the_hour_that_winter_time_repeats_is_two) {
  // 2026-10-25 02:30 in Berlin, twice.
  ck_assert(Due("hourly", "2026-10-25 00:30", "2026-10-25 01:30"));
  ck_assert(!Due("daily", "2026-10-25 00:30", "2026-10-25 01:30"));
}
END_TEST

START_TEST(as_many_are_kept_as_asked) {
  Records records;
  for (const Tag tag : {2u, 3u, 5u, 7u, 8u}) records.snapshots[tag].rotations = {"hourly"};
  records.snapshots[3].rotations.emplace_back("daily");
  const std::vector<Tag> usable = {1, 2, 3, 5, 7, 8};  // 1 was made by hand
  const auto gone = Expire({"hourly", "hourly", 2}, usable, &records);
  ck_assert(gone == (std::vector<Tag>{2, 5}));
  ck_assert(records.snapshots[3].rotations == std::vector<std::string>{"daily"});
  ck_assert(records.snapshots[5].rotations.empty());
  ck_assert(Expire({"hourly", "hourly", 2}, usable, &records).empty());
  const auto links = RotationLinks(usable, records);
  ck_assert(links == (std::vector<std::pair<std::string, Tag>>{
                         {"hourly.0", 8}, {"hourly.1", 7}, {"daily.0", 3}}));
}
END_TEST

// A timer that elapses every hour of a year, with both changes of the clock in it.
START_TEST(a_year_of_snapshots) {
  const std::vector<Rotation> schedule = {{"hourly", "hourly", 24},
                                          {"daily", "daily", 7},
                                          {"weekly", "weekly", 5},
                                          {"monthly", "monthly", 13}};
  Records records;
  std::map<std::string, int> made;
  std::vector<Tag> all;
  const time_t end = Utc("2026-12-31 23:00");  // midnight in Berlin
  for (time_t now = Utc("2025-12-31 23:00"); now < end; now += 3600) {
    std::vector<std::string> due;
    for (const Rotation& rotation : schedule) {
      const auto last = records.last_run.find(rotation.name);
      if (IsDue(rotation.name,
                last == records.last_run.end() ? std::nullopt : std::optional(last->second), now))
        due.push_back(rotation.name);
    }
    for (const std::string& rotation : due) ++made[rotation], records.last_run[rotation] = now;
    if (due.empty()) continue;
    const Tag tag = records.next_tag++;
    records.snapshots[tag] = {due};
    all.push_back(tag);
    for (const Rotation& rotation : schedule) {
      for (const Tag old : Expire(rotation, all, &records)) {
        ck_assert_uint_ne(old, tag);
        records.snapshots.erase(old);
        std::erase(all, old);
      }
      // Exactly as many as asked, as soon as there have been so many.
      const int kept =
          static_cast<int>(std::ranges::count_if(records.snapshots, [&](const auto& s) {
            return std::ranges::find(s.second.rotations, rotation.name) != s.second.rotations.end();
          }));
      ck_assert_int_eq(kept, std::min<int>(made[rotation.name], static_cast<int>(rotation.keep)));
    }
  }
  ck_assert_int_eq(made["hourly"], 365 * 24);
  ck_assert_int_eq(made["daily"], 365);
  ck_assert_int_eq(made["weekly"], 53);
  ck_assert_int_eq(made["monthly"], 12);
}
END_TEST

START_TEST(records_come_back) {
  const TempFolder folder;
  const RecordFolder records(folder.path());
  auto none = records.Load("vol", "u1");
  CK_OK(none);
  ck_assert(none->uuid == "u1" && none->snapshots.empty() && none->next_tag == 0);
  none->next_tag = 7;
  none->snapshots[6] = {{"hourly", "daily"}};
  none->last_run["hourly"] = 1234;
  none->jobs["snapshot"] = {99, "went wrong"};
  CK_OK(records.Save("vol", *none));
  auto back = records.Load("vol", "u1");
  CK_OK(back);
  ck_assert_uint_eq(back->next_tag, 7);
  ck_assert(back->snapshots.at(6).rotations == (std::vector<std::string>{"hourly", "daily"}));
  ck_assert_int_eq(back->last_run.at("hourly"), 1234);
  ck_assert(back->jobs.at("snapshot").error == "went wrong");
  // They are of one store: another's begin anew.
  auto other = records.Load("vol", "u2");
  CK_OK(other);
  ck_assert(other->snapshots.empty());
  CK_OK(records.Remove("vol"));
  CK_OK(records.Remove("vol"));
}
END_TEST

START_TEST(what_peers_hold_is_remembered) {
  const TempFolder folder;
  const RecordFolder records(folder.path());
  Records saved;
  saved.uuid = "u";
  PeerRecord& peer = saved.targets["backup:copy"];
  peer = {.held = 3,
          .sending = 5,
          .held_created = 100,
          .last_try = 200,
          .last_success = 150,
          .error = "no route\"",
          .bytes = uint64_t{1} << 40,
          .milliseconds = 7,
          .requests = 2,
          .asked = 5,
          .unsure = true,
          .torn = true,
          .aborted = 1700000002};
  saved.source.held = 9;
  CK_OK(records.Save("vol", saved));
  auto loaded = records.Load("vol", "u");
  CK_OK(loaded);
  ck_assert(loaded->targets == saved.targets && loaded->source == saved.source);
  ck_assert((HeldSnapshots(*loaded) == std::set<Tag>{3, 5, 9}));
  // A file of before there was replication.
  CK_OK(WriteWholeFile(folder.path() + "/volumes/vol.json",
                       R"({"uuid":"u","next_tag":1,"snapshots":[],"last_run":{},"jobs":{}})"));
  loaded = records.Load("vol", "u");
  CK_OK(loaded);
  ck_assert(loaded->targets.empty() && HeldSnapshots(*loaded).empty());
}
END_TEST

// Of those that were made to be sent the newest is kept while there is somebody to send to.
START_TEST(replication_has_rotations_of_its_own) {
  VolumeConfig config;
  config.rotations = {{"daily", "daily", 7}};
  Records records;
  const auto keep = [&](const char* name) {
    for (const Rotation& rotation : KeptRotations(config, records))
      if (rotation.name == name) return static_cast<int>(rotation.keep);
    return -1;
  };
  ck_assert(keep("daily") == 7 && keep(kReplicaRotation) == 0 && keep(kReceivedRotation) == -1);
  records.targets["fetches"] = {};
  ck_assert_int_eq(keep(kReplicaRotation), 1);
  records.targets.clear();
  config.targets = {{"backup", "", 0}};
  config.source = {"up", "", 4};
  ck_assert(keep(kReplicaRotation) == 1 && keep(kReceivedRotation) == 4);
  records.snapshots[1].rotations = {kReplicaRotation};
  records.snapshots[2].rotations = {kReplicaRotation, "daily"};
  ck_assert(Expire({kReplicaRotation, "", 1}, {1, 2}, &records) == std::vector<Tag>{1});
  ck_assert(Expire({kReplicaRotation, "", 0}, {2}, &records).empty());
  ck_assert(records.snapshots[2].rotations == std::vector<std::string>{"daily"});
}
END_TEST

START_TEST(a_base_without_content_is_for_hosts_that_are_late) {
  constexpr time_t kNow = 1'000'000;
  Records records;
  const auto holds = [&records](const char* name, time_t success) {
    records.targets[name].held = 3;
    records.targets[name].last_success = success;
  };
  holds("late", kNow - 90000);
  ck_assert(MayBeBookmark(records, 3, kNow));
  ck_assert(!MayBeBookmark(records, 4, kNow));
  holds("early", kNow - 80000);
  ck_assert(!MayBeBookmark(records, 3, kNow));
  records.targets.erase("early");
  records.targets["other"].sending = 3;
  ck_assert(!MayBeBookmark(records, 3, kNow));
  records.targets.erase("other");
  holds("file:/srv/d", kNow - 90000);
  ck_assert(!MayBeBookmark(records, 3, kNow));
  records.targets.erase("file:/srv/d");
  records.source.held = 3;
  ck_assert(!MayBeBookmark(records, 3, kNow));
}
END_TEST

START_TEST(damaged_records_are_an_error) {
  const TempFolder folder;
  const RecordFolder records(folder.path());
  CK_OK(records.Save("vol", {}));
  for (const char* text : {"", "{", "[]", "{\"uuid\":1}", "{\"uuid\":\"\",\"next_tag\":\"x\"}"}) {
    CK_OK(WriteWholeFile(folder.path() + "/volumes/vol.json", text));
    auto loaded = records.Load("vol", "");
    ck_assert_msg(!loaded && loaded.error().code == EBADMSG, "%s was taken", text);
  }
}
END_TEST

START_TEST(paths_become_unit_names) {
  ck_assert(EscapeUnitPath("/dev/zumastor/a-b") == "dev-zumastor-a\\x2db");
  ck_assert(EscapeUnitPath("/") == "-");
  ck_assert(EscapeUnitPath("//srv///x/") == "srv-x");
  ck_assert(EscapeUnitPath("/.hidden/a.b") == "\\x2ehidden-a.b");
  ck_assert(EscapeUnitPath("/dev/zumastor/v@3") == "dev-zumastor-v\\x403");
  ck_assert(EscapeUnitPath("/mnt/\xc3\xa4") == "mnt-\\xc3\\xa4");
}
END_TEST

UNIT_MAIN("rotation", a_period_has_one_snapshot, a_clock_set_back_makes_nothing_due_or_all,
          the_hour_that_winter_time_repeats_is_two, as_many_are_kept_as_asked, a_year_of_snapshots,
          a_base_without_content_is_for_hosts_that_are_late, records_come_back,
          what_peers_hold_is_remembered, replication_has_rotations_of_its_own,
          damaged_records_are_an_error, paths_become_unit_names)
