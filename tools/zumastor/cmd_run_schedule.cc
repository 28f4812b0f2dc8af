// SPDX-License-Identifier: GPL-2.0
// zumastor run-schedule NAME, zumastor thaw NAME: for zumastor-snapshot@.service
#include <cerrno>
#include <ctime>
#include <memory>

#include "commands.h"
#include "host/command.h"
#include "host/freeze.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "report.h"
#include "snapshotting.h"
#include "volume/rotation.h"

namespace ddsnap {
namespace {

// Whether the calendar has had a moment after `last`: its next one, seen from
// there, is not in the future.
bool CalendarIsDue(const std::string& calendar, time_t last, time_t now) {
  auto result = RunCommand({"systemd-analyze", "calendar", "--base-time=@" + std::to_string(last),
                            "--iterations=1", calendar},
                           {.timeout_ms = 10000, .environment = {{"TZ", "UTC"}, {"LC_ALL", "C"}}});
  if (!result || result->status != 0) return true;
  const std::string head = "Next elapse: ";
  const size_t at = result->output.find(head);
  if (at == std::string::npos) return false;  // "never"
  tm parts{};
  const std::string text = result->output.substr(at + head.size());
  if (::strptime(text.c_str(), "%a %Y-%m-%d %H:%M:%S", &parts) == nullptr) return true;
  return ::timegm(&parts) <= now;
}

bool DueNow(const Rotation& rotation, const Records& records, time_t now) {
  const auto it = records.last_run.find(rotation.name);
  if (it == records.last_run.end()) return true;
  if (rotation.name == "custom") return CalendarIsDue(rotation.calendar, it->second, now);
  return IsDue(rotation.name, it->second, now);
}

// Remembers how it went, whatever that was.
Status RunDue(LiveVolume& volume) {
  if (Status s = volume.RequireUp(); !s) return s;
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  const time_t now = ::time(nullptr);
  std::vector<std::string> due;
  for (const Rotation& rotation : volume.config().rotations)
    if (DueNow(rotation, *records, now)) due.push_back(rotation.name);
  if (due.empty()) return {};
  if (auto tag = MakeSnapshot(volume, due); !tag) return Pass(tag);
  records = volume.LoadRecords();
  if (!records) return Pass(records);
  for (const std::string& rotation : due) records->last_run[rotation] = now;
  if (Status s = volume.SaveRecords(*records); !s) return s;
  return ExpireSnapshots(volume);
}

Result<int> Run(const std::string& name) {
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  const Status done = RunDue(*volume);
  if (auto records = volume->LoadRecords()) {
    records->jobs["snapshot"] = {::time(nullptr), done ? "" : done.error().text};
    if (Status s = volume->SaveRecords(*records); !s) Warn(s.error().text);
  }
  if (done) return 0;
  ReportEvent(name, kJobFailedEvent, "scheduled snapshot: " + done.error().text);
  return std::unexpected(done.error());
}

// After a snapshot job that was killed together with its guard.
Result<int> Thaw(const std::string& name) {
  auto number = NumberOf(OriginPath(name));
  if (!number) return 0;
  auto mounts = MountsOf(*number);
  if (!mounts) return Pass(mounts);
  for (const Mount& mount : *mounts)
    if (Status s = ThawIfFrozen(mount.target); !s) return Pass(s);
  return 0;
}

Action DeclareJob(CLI::App& app, Result<int> (*job)(const std::string&)) {
  auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "the volume")->required();
  return [name, job] { return job(*name); };
}

}  // namespace

const Command kRunSchedule = {.name = "run-schedule",
                              .aliases = {},
                              .help = "make the snapshots that are due",
                              .declare = [](CLI::App& app) { return DeclareJob(app, Run); },
                              .internal = true};
const Command kThaw = {.name = "thaw",
                       .aliases = {},
                       .help = "thaw the volume's file system",
                       .declare = [](CLI::App& app) { return DeclareJob(app, Thaw); },
                       .internal = true};

}  // namespace ddsnap
