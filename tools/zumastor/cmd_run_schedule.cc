// SPDX-License-Identifier: GPL-2.0
// zumastor run-schedule NAME, zumastor thaw NAME: for zumastor-snapshot@.service and
// zumastor-delta@.service
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "calendar.h"
#include "commands.h"
#include "host/event_queue.h"
#include "host/freeze.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "report.h"
#include "snapshotting.h"
#include "volume/rotation.h"

namespace ddsnap {
namespace {

bool DueNow(const Rotation& rotation, const Records& records, time_t now) {
  const auto it = records.last_run.find(rotation.name);
  if (it == records.last_run.end() || LiesAhead(it->second, now)) return true;
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
  // One that made its snapshot and could not delete an old one is tried again for that.
  if (due.empty()) return ExpireSnapshots(volume);
  if (auto tag = MakeSnapshot(volume, due); !tag) return Pass(tag);
  records = volume.LoadRecords();
  if (!records) return Pass(records);
  for (const std::string& rotation : due) records->last_run[rotation] = now;
  if (Status s = volume.SaveRecords(*records); !s) return s;
  return ExpireSnapshots(volume);
}

void ReportFailure(const std::string& name, const std::string& error) {
  ReportEvent(LOG_WARNING, kJobFailedEvent, name, "scheduled snapshot: " + error);
}

// How a job went: in the volume's records and, if it failed, as an event.
void Remember(const LiveVolume& volume, const std::string& error) {
  if (auto records = volume.LoadRecords()) {
    records->jobs["snapshot"] = {::time(nullptr), error};
    if (Status s = volume.SaveRecords(*records); !s) Warn(s.error().text);
  }
  if (!error.empty()) ReportFailure(volume.name(), error);
}

Result<int> Run(const std::string& name) {
  auto volume = LiveVolume::Open(name);
  if (!volume) {
    // Without the volume's lock nothing is recorded: it is told only.
    ReportFailure(name, volume.error().text);
    return Pass(volume);
  }
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

// After a job, which may have been killed together with the guard of its snapshot.
Result<int> Thaw(const std::string& name, bool scheduled) {
  // How it ended, as systemd.exec(5) has it; nothing if this is run by hand.
  const char* result = ::secure_getenv("SERVICE_RESULT");
  const std::string_view how = result != nullptr ? result : "";
  // A job that has ended by itself has thawed what it froze.  What is frozen now is somebody
  // else's: a backup program's, or that of the agent of a virtual machine's host.
  if (how == "success" || how == "exit-code") return 0;
  {
    // What another command has just frozen stays so until that is done.
    auto other = scheduled ? Result<LiveVolume>(Fail(0, "")) : LiveVolume::Open(name);
    if (Status s = ThawMounts(name); !s) return Pass(s);
  }
  if (!scheduled || how.empty()) return 0;
  // What the job could not say itself.
  const std::string error = how == "timeout" ? "took too long" : "was killed";
  auto volume = LiveVolume::Open(name);
  if (!volume) {
    ReportFailure(name, error);
    return Pass(volume);
  }
  Remember(*volume, error);
  return 0;
}

Action DeclareSchedule(Arguments& args) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "the volume").Required();
  return [name] { return Run(*name); };
}

Action DeclareThaw(Arguments& args) {
  auto name = std::make_shared<std::string>();
  auto other = std::make_shared<bool>(false);
  args.Add("NAME", name.get(), "the volume").Required();
  args.AddFlag("--other", other.get(), "after a job that was no scheduled snapshot");
  return [name, other] { return Thaw(*name, !*other); };
}

}  // namespace

const Command kRunSchedule = {.name = "run-schedule",
                              .aliases = {},
                              .help = "make the snapshots that are due",
                              .declare = DeclareSchedule,
                              .internal = true};
const Command kThaw = {.name = "thaw",
                       .aliases = {},
                       .help = "thaw the volume's file system",
                       .declare = DeclareThaw,
                       .internal = true};

}  // namespace ddsnap
