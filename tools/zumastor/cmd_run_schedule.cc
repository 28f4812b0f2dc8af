// SPDX-License-Identifier: GPL-2.0
// zumastor run-schedule NAME, zumastor thaw NAME: for zumastor-snapshot@.service
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "commands.h"
#include "host/command.h"
#include "host/event_queue.h"
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

// How a job went: in the volume's records and, if it failed, as an event.
void Remember(const LiveVolume& volume, const std::string& error) {
  if (auto records = volume.LoadRecords()) {
    records->jobs["snapshot"] = {::time(nullptr), error};
    if (Status s = volume.SaveRecords(*records); !s) Warn(s.error().text);
  }
  if (!error.empty())
    ReportEvent(LOG_WARNING, kJobFailedEvent, volume.name(), "scheduled snapshot: " + error);
}

Result<int> Run(const std::string& name) {
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  const Status done = RunDue(*volume);
  Remember(*volume, done ? "" : done.error().text);
  if (done) return 0;
  return std::unexpected(done.error());
}

Status ThawMounts(const std::string& name) {
  auto number = NumberOf(OriginPath(name));
  if (!number) return {};
  auto mounts = MountsOf(*number);
  if (!mounts) return Pass(mounts);
  // Thawing one of them thaws the file system.
  for (const Mount& mount : *mounts) {
    if (mount.hidden) continue;
    if (Status s = ThawIfFrozen(mount.target); !s) return s;
  }
  return {};
}

// After a snapshot job, which may have been killed together with its guard.
Result<int> Thaw(const std::string& name) {
  if (Status s = ThawMounts(name); !s) return Pass(s);
  // What the job could not say itself (SERVICE_RESULT of systemd.exec(5)).
  const char* result = ::secure_getenv("SERVICE_RESULT");
  const std::string_view how = result != nullptr ? result : "success";
  if (how == "success" || how == "exit-code") return 0;
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  Remember(*volume, how == "timeout" ? "took too long" : "was killed");
  return 0;
}

Action DeclareJob(Arguments& args, Result<int> (*job)(const std::string&)) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "the volume").Required();
  return [name, job] { return job(*name); };
}

}  // namespace

const Command kRunSchedule = {.name = "run-schedule",
                              .aliases = {},
                              .help = "make the snapshots that are due",
                              .declare = [](Arguments& args) { return DeclareJob(args, Run); },
                              .internal = true};
const Command kThaw = {.name = "thaw",
                       .aliases = {},
                       .help = "thaw the volume's file system",
                       .declare = [](Arguments& args) { return DeclareJob(args, Thaw); },
                       .internal = true};

}  // namespace ddsnap
