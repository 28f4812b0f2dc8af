// SPDX-License-Identifier: GPL-2.0
// zumastor define schedule NAME [--hourly N] ... [--custom 'ONCALENDAR,N']
#include <memory>
#include <optional>

#include "calendar.h"
#include "cli/options.h"
#include "commands.h"
#include "host/command.h"
#include "service_manager.h"
#include "volume/volume_config.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

constexpr char kSection[] = "Schedule";

struct Options {
  std::string name;
  std::optional<uint32_t> hourly, daily, weekly, monthly;
  std::optional<std::string> custom, delay;
};

template <typename T>
void Apply(const std::optional<T>& value, const char* key, IniFile* file) {
  if (!value) return;
  if constexpr (std::is_same_v<T, std::string>) {
    file->Set(kSection, key, *value);
  } else {
    file->Set(kSection, key, std::to_string(*value));
  }
}

Status CheckCalendars(const VolumeConfig& config) {
  for (const Rotation& rotation : config.rotations)
    if (Status s = CheckCalendar(rotation.calendar); !s) return s;
  if (config.random_delay.empty()) return {};
  if (RunCommandOk({"systemd-analyze", "timespan", config.random_delay})) return {};
  return Fail(EINVAL, config.random_delay + ": not a time as systemd.time(7) has them");
}

Result<int> Run(const Options& options) {
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  const ConfigFolder folder = ConfigFolder::Default();
  auto file = folder.LoadFile(options.name);
  if (!file) return Pass(file);
  Apply(options.hourly, "Hourly", &*file);
  Apply(options.daily, "Daily", &*file);
  Apply(options.weekly, "Weekly", &*file);
  Apply(options.monthly, "Monthly", &*file);
  Apply(options.custom, "Custom", &*file);
  Apply(options.delay, "RandomizedDelaySec", &*file);
  auto config = ReadConfig(options.name, *file);
  if (!config) return Pass(config);
  if (Status s = CheckCalendars(*config); !s) return Pass(s);
  if (Status s = folder.Save(options.name, *file); !s) return Pass(s);
  if (Status s = Systemctl("daemon-reload", {}); !s) return Pass(s);
  // The timer belongs to a volume that is up.
  const std::string timer = SnapshotTimerUnit(options.name);
  if (UnitProperty(VolumeUnit(options.name), "ActiveState") != "active") return 0;
  if (Status s = Systemctl(config->rotations.empty() ? "stop" : "restart", {timer}); !s)
    return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("--hourly", &options->hourly, "snapshots kept of one an hour; 0 for none");
  args.Add("--daily", &options->daily, "of one a day");
  args.Add("--weekly", &options->weekly, "of one a week");
  args.Add("--monthly", &options->monthly, "of one a month");
  args.Add("--custom", &options->custom, "'ONCALENDAR,N': a calendar of systemd.time(7)");
  args.Add("--randomized-delay", &options->delay, "start later by up to this time");
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDefineSchedule = {
    "define schedule", {}, "say how often there are snapshots, and how many", Declare};

}  // namespace ddsnap
