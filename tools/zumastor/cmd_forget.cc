// SPDX-License-Identifier: GPL-2.0
// zumastor forget NAME
// zumastor forget target NAME TARGET, zumastor forget source NAME
#include <cstdio>
#include <memory>

#include "commands.h"
#include "host/device_names.h"
#include "io/device_number.h"
#include "peers.h"
#include "report.h"
#include "service_manager.h"
#include "stop_volume.h"
#include "volume/records.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

constexpr uint64_t kUdevWaitMs = 10000;

// Who brings a volume up reads its file under the volume's lock: it is either up now, and
// stays defined, or never comes up again.
Status RemoveConfig(const ConfigFolder& folder, const std::string& name) {
  auto lock = CommandLock::OfVolume(name);
  if (!lock) return Pass(lock);
  auto left = DeviceLeft(name);
  if (!left) return Pass(left);
  if (!left->empty()) return Fail(EBUSY, name + ": is up, with " + *left);
  return folder.Remove(name);
}

Result<int> Run(const std::string& name) {
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  const ConfigFolder folder = ConfigFolder::Default();
  // Also a file that cannot be meant can be forgotten, if nothing of it is up.
  auto config = folder.Load(name);
  if (!config && config.error().code == ENOENT) return Pass(config);
  if (config)
    if (Status s = StopVolume(*config); !s) return Pass(s);
  if (Status s = RemoveConfig(folder, name); !s) return Pass(s);
  if (Status s = Systemctl("disable", {"--no-reload", VolumeUnit(name)}); !s) Warn(s.error().text);
  if (Status s = Systemctl("stop", {ServerSocketUnit(name)}); !s) Warn(s.error().text);
  if (Status s = RecordFolder::Default().Remove(name); !s) Warn(s.error().text);
  if (Status s = Systemctl("daemon-reload", {}); !s) Warn(s.error().text);
  if (!config) return 0;
  // They are plain devices again, with the names that follow from their contents.
  for (const std::string* device : {&config->origin, &config->store, &config->metadata}) {
    auto number = NumberOf(*device);
    if (!number) continue;
    if (Status s = Retrigger(*number, kUdevWaitMs); !s) Warn(s.error().text);
  }
  return 0;
}

// "target" and "source" are good names of volumes too: how many words there are decides.
Result<int> Choose(const std::vector<std::string>& words) {
  if (words.size() == 1) return Run(words[0]);
  Status s = words.size() == 3 && words[0] == "target"   ? ForgetTarget(words[1], words[2])
             : words.size() == 2 && words[0] == "source" ? ForgetSource(words[1])
                                                         : Status(Fail(0, ""));
  if (s) return 0;
  if (s.error().code != 0) return Pass(s);
  std::fputs("zumastor: forget: NAME, target NAME TARGET, or source NAME\n", stderr);
  return 2;
}

Action Declare(Arguments& args) {
  auto words = std::make_shared<std::vector<std::string>>();
  args.Add("NAME", words.get(), "the volume; or: target NAME TARGET; or: source NAME")
      .Required()
      .Count(1, 3);
  return [words] { return Choose(*words); };
}

}  // namespace

const Command kForget = {
    "forget", {}, "take a volume down and forget it; its origin is a plain device again", Declare};

}  // namespace ddsnap
