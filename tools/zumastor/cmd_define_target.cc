// SPDX-License-Identifier: GPL-2.0
// zumastor define target NAME [USER@]HOST[:VOLUME] | file:DIR [--period CALENDAR] [--rate-limit
// RATE] zumastor define source NAME [USER@]HOST[:VOLUME] [--period CALENDAR] [--keep N]
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "calendar.h"
#include "cli/options.h"
#include "commands.h"
#include "io/device_number.h"
#include "peers.h"
#include "volume/volume_config.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name, peer;
  std::optional<std::string> period, rate;
  std::optional<uint32_t> keep;
};

void Apply(const std::optional<std::string>& value, const std::string& section, const char* key,
           IniFile* file) {
  if (!value) return;
  if (value->empty()) {
    file->Remove(section, key);
  } else {
    file->Set(section, key, *value);
  }
}

Status CheckPeriod(const Options& options) {
  if (!options.period || options.period->empty()) return {};
  return CheckCalendar(*options.period);
}

// A folder that is lost with the volume is of no use.
Status CheckFolder(const std::string& volume, const std::string& folder) {
  const size_t slash = folder.rfind('/');
  const std::string parent = slash == 0 ? "/" : folder.substr(0, slash);
  struct stat st;
  if (::stat(folder.c_str(), &st) != 0 && ::stat(parent.c_str(), &st) != 0)
    return FailErrno(errno, parent);
  if (!S_ISDIR(st.st_mode)) return FailErrno(ENOTDIR, folder);
  auto number = NumberOf(OriginPath(volume));
  if (number && *number == DeviceNumber{major(st.st_dev), minor(st.st_dev)})
    return Fail(EINVAL, folder + ": is on the volume itself");
  return {};
}

Result<int> DefineTarget(const Options& options) {
  if (Status s = CheckTargetName(options.peer); !s) return Pass(s);
  if (Status s = CheckPeriod(options); !s) return Pass(s);
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  const ConfigFolder folder = ConfigFolder::Default();
  auto file = folder.LoadFile(options.name);
  if (!file) return Pass(file);
  if (auto path = FolderOfTarget(options.peer))
    if (Status s = CheckFolder(options.name, *path); !s) return Pass(s);
  const std::string section = TargetSection(options.peer);
  file->AddSection(section);
  Apply(options.period, section, "Period", &*file);
  Apply(options.rate, section, "RateLimit", &*file);
  if (Status s = folder.Save(options.name, *file); !s) return Pass(s);
  if (Status s = SyncDeltaTimer(options.name); !s) return Pass(s);
  return 0;
}

Result<int> DefineSource(const Options& options) {
  if (auto remote = ParseRemote(options.peer); !remote) return Pass(remote);
  if (Status s = CheckPeriod(options); !s) return Pass(s);
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  const ConfigFolder folder = ConfigFolder::Default();
  auto config = folder.Load(options.name);
  if (!config) return Pass(config);
  if (config->source && config->source->name != options.peer)
    return Fail(EEXIST, options.name + ": comes from " + config->source->name +
                            "; zumastor forget source " + options.name + " first");
  auto file = folder.LoadFile(options.name);
  if (!file) return Pass(file);
  file->Set(kSourceSection, "Host", options.peer);
  Apply(options.period, kSourceSection, "Period", &*file);
  if (options.keep) file->Set(kSourceSection, "Keep", std::to_string(*options.keep));
  if (Status s = folder.Save(options.name, *file); !s) return Pass(s);
  if (Status s = SyncDeltaTimer(options.name); !s) return Pass(s);
  return 0;
}

Action DeclareTarget(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("TARGET", &options->peer, "[USER@]HOST[:VOLUME], reached by ssh, or file:DIR")
      .Required();
  args.Add("--period", &options->period, "how often: a calendar of systemd.time(7); '' for never");
  args.Add("--rate-limit", &options->rate, "bytes a second, at most, with K, M or G");
  return [options] { return DefineTarget(*options); };
}

Action DeclareSource(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume, which becomes a replica").Required();
  args.Add("SOURCE", &options->peer, "[USER@]HOST[:VOLUME] that it comes from").Required();
  args.Add("--period", &options->period,
           "fetch so often, a calendar of systemd.time(7); without it, it waits to be sent it");
  args.Add("--keep", &options->keep, "received snapshots that are kept (default: 8)");
  return [options] { return DefineSource(*options); };
}

}  // namespace

const Command kDefineTarget = {
    "define target", {}, "say where a volume is replicated to, and how often", DeclareTarget};
const Command kDefineSource = {
    "define source", {}, "make a volume the replica of another host's", DeclareSource};

}  // namespace ddsnap
