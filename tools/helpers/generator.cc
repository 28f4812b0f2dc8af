// SPDX-License-Identifier: GPL-2.0
// zumastor-generator: what the service manager must know of each volume, written
// as systemd.generator(7) says whenever it reads its units:
//
//   zumastor@NAME.service.d/volume.conf    devices to wait for, mounts to come before
//   NAME.device.d/10-zumastor.conf         how long a mount waits for the volume's name
//   zumastor-snapshot@NAME.timer.d/schedule.conf, and a link that starts the timer
//   zumastor-delta@NAME.timer.d/periods.conf, likewise
//   PATH.mount, for a volume with a MountPoint, and a link that starts it; not for a replica, of
//   which a snapshot is shown there
//
// It runs before anything else does: it reads /etc/zumastor and writes into its
// folder, nothing more, and a volume whose file is wrong does not spoil the others.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "volume/unit_name.h"
#include "volume/volume_config.h"

using namespace ddsnap;

namespace {

namespace fs = std::filesystem;

// Percent signs are specifiers in units.
std::string Quote(const std::string& text) {
  std::string quoted;
  for (const char c : text) quoted += c == '%' ? std::string("%%") : std::string(1, c);
  return quoted;
}

void WriteUnit(const fs::path& path, const std::string& text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream(path) << "# Written by zumastor-generator\n" << text;
}

void WriteLink(const fs::path& path, const std::string& target) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  fs::create_symlink(target, path, error);
}

std::vector<std::string> NamesOf(const VolumeConfig& config) {
  return {OriginPath(config.name), "/dev/mapper/" + OriginDmName(config.name)};
}

// Mounts of the volume, by either of its names, come after it and go before it.
std::string VolumeDropIn(const VolumeConfig& config) {
  std::string text = "[Unit]\n";
  for (const std::string& device : {config.origin, config.store, config.metadata}) {
    if (device.empty()) continue;
    const std::string unit = Quote(EscapeUnitPath(device)) + ".device";
    text += "Wants=" + unit + "\nAfter=" + unit + "\n";
  }
  for (const std::string& path : NamesOf(config)) {
    const std::string target = "blockdev@" + EscapeUnitPath(path) + ".target";
    text += "Wants=" + target + "\nBefore=" + target + "\n";
  }
  if (!config.late) text += "Wants=local-fs-pre.target\nBefore=local-fs-pre.target\n";
  return text;
}

std::string MountUnit(const VolumeConfig& config) {
  const std::string service = "zumastor@" + config.name + ".service";
  const std::string device = OriginPath(config.name);
  const std::string fsck = "systemd-fsck@" + EscapeUnitPath(device) + ".service";
  std::string text =
      "[Unit]\nDescription=Volume " + config.name + "\nDocumentation=man:zumastor(8)\n";
  text += "Requires=" + service + "\nAfter=" + service + "\n";
  text += "Requires=" + fsck + "\nAfter=" + fsck + "\n";
  text += "\n[Mount]\nWhat=" + device + "\nWhere=" + Quote(config.mountpoint) + "\n";
  if (!config.mount_options.empty()) text += "Options=" + Quote(config.mount_options) + "\n";
  return text;
}

std::string ScheduleDropIn(const VolumeConfig& config) {
  std::string text = "[Timer]\n";
  for (const Rotation& rotation : config.rotations)
    text += "OnCalendar=" + Quote(rotation.calendar) + "\n";
  if (!config.random_delay.empty())
    text += "RandomizedDelaySec=" + Quote(config.random_delay) + "\n";
  return text;
}

// Empty where nothing has a period.
std::string PeriodsDropIn(const VolumeConfig& config) {
  std::string text;
  const auto add = [&text](const std::string& period) {
    if (!period.empty()) text += "OnCalendar=" + Quote(period) + "\n";
  };
  if (config.source) add(config.source->period);
  for (const TargetConfig& target : config.targets) add(target.period);
  return text.empty() ? "" : "[Timer]\n" + text;
}

// The name comes after the devices, which may take as long as any device may: 90 seconds.  An
// option x-systemd.device-timeout in fstab becomes 50-device-timeout.conf, which wins.
constexpr char kDeviceDropIn[] = "[Unit]\nJobRunningTimeoutSec=180\n";

// The timer of a volume, which starts with it.
void WriteTimer(const fs::path& folder, const VolumeConfig& config, const std::string& kind,
                const std::string& file, const std::string& text) {
  const std::string timer = kind + "@" + config.name + ".timer";
  WriteUnit(folder / (timer + ".d") / file, text);
  // Where the template is: the service manager goes by the link's name.
  WriteLink(folder / ("zumastor@" + config.name + ".service.wants") / timer,
            SYSTEMUNITDIR "/" + kind + "@.timer");
}

void Generate(const fs::path& folder, const VolumeConfig& config) {
  const std::string service = "zumastor@" + config.name + ".service";
  WriteUnit(folder / (service + ".d") / "volume.conf", VolumeDropIn(config));
  for (const std::string& path : NamesOf(config))
    WriteUnit(folder / (EscapeUnitPath(path) + ".device.d") / "10-zumastor.conf", kDeviceDropIn);
  if (!config.rotations.empty())
    WriteTimer(folder, config, "zumastor-snapshot", "schedule.conf", ScheduleDropIn(config));
  if (const std::string periods = PeriodsDropIn(config); !periods.empty())
    WriteTimer(folder, config, "zumastor-delta", "periods.conf", periods);
  if (!config.mountpoint.empty() && !config.source) {
    const std::string mount = EscapeUnitPath(config.mountpoint) + ".mount";
    WriteUnit(folder / mount, MountUnit(config));
    WriteLink(folder / (service + ".wants") / mount, "../" + mount);
  }
}

// The kernel's log is all that there is so early.
void Complain(const std::string& text) {
  const int log = ::open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  ::dprintf(log >= 0 ? log : STDERR_FILENO, "<4>zumastor-generator: %s\n", text.c_str());
  if (log >= 0) ::close(log);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) {
    std::fprintf(stderr, "zumastor-generator: usage: NORMAL [EARLY LATE]\n");
    return 2;
  }
  const ConfigFolder configs = ConfigFolder::Default();
  auto names = configs.List();
  if (!names) {
    Complain(names.error().text);
    return 1;
  }
  for (const std::string& name : *names) {
    auto config = configs.Load(name);
    if (config) {
      Generate(argv[1], *config);
    } else {
      Complain(config.error().text);
    }
  }
  return 0;
}
