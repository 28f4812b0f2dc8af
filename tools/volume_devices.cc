// SPDX-License-Identifier: GPL-2.0
#include "volume_devices.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "control_verb.h"
#include "host/mounts.h"

namespace ddsnap {
namespace {

// udev looks at devices that were just made or changed.
constexpr int kOpenTries = 25;
constexpr useconds_t kOpenWaitUs = 200000;

std::string PathOf(const std::string& name) { return "/dev/mapper/" + name; }

std::string Text(const dm::DeviceNumber& number) {
  return std::to_string(number.major) + ":" + std::to_string(number.minor);
}

Status RequireUnused(const std::string& name) {
  for (int i = 0; i < kOpenTries; ++i) {
    auto count = dm::OpenCount(name);
    if (!count) return Pass(count);
    if (*count == 0) return {};
    auto use = DescribeUse(PathOf(name));
    if (!use) return Pass(use);
    if (!use->empty()) return Fail(EBUSY, PathOf(name) + ": " + *use);
    ::usleep(kOpenWaitUs);
  }
  return Fail(EBUSY, PathOf(name) + ": in use by a program that has it open");
}

}  // namespace

Result<VolumeDevices> VolumeDevices::Find(const Asker& ask, const std::string& own) {
  auto answer = ask({{"verb", "devices"}});
  if (!answer) return Pass(answer);
  auto store = Field<std::string>(*answer, "store");
  auto origin = Field<std::string>(*answer, "origin");
  auto agent = Field<std::string>(*answer, "agent");
  if (!store || !origin || !agent) return Fail(EPROTO, "server's answer is incomplete");
  auto all = dm::ListDdsnapDevices();
  if (!all) return Pass(all);
  VolumeDevices found;
  found.own_ = own;
  found.params_ = *store + " " + *origin + " " + *agent + " ";
  for (dm::DdsnapDevice& device : *all) {
    if (Text(device.store) != *store || Text(device.origin) != *origin) continue;
    if (device.name.starts_with(own + "-")) {
      if (Status s = dm::RemoveDevice(device.name); !s) return Pass(s);
      continue;
    }
    found.devices_.push_back(std::move(device));
  }
  return found;
}

VolumeDevices::~VolumeDevices() { RemoveMade(); }

void VolumeDevices::RemoveMade() {
  for (const std::string& name : made_) (void)dm::RemoveDevice(name);
  made_.clear();
}

Result<std::string> VolumeDevices::Make(const std::string& tag, uint64_t sectors) {
  const std::string name = own_ + "-" + (tag == "-1" ? "origin" : tag);
  dm::NewDevice device;
  device.name = name;
  device.sectors = sectors;
  device.target = "ddsnap";
  device.params = params_ + tag;
  device.hidden = true;
  if (Status s = dm::CreateDevice(device); !s) return Pass(s);
  made_.push_back(name);
  return PathOf(name);
}

std::vector<dm::DdsnapDevice> VolumeDevices::Origins() const {
  std::vector<dm::DdsnapDevice> origins;
  for (const dm::DdsnapDevice& device : devices_)
    if (device.tag == "-1") origins.push_back(device);
  return origins;
}

Result<VolumeDevices::Unused> VolumeDevices::Take(const std::string& tag, uint64_t sectors) {
  Unused unused;
  for (const dm::DdsnapDevice& device : devices_) {
    if (device.tag != tag) continue;
    if (Status s = RequireUnused(device.name); !s) return Pass(s);
    const std::string path = PathOf(device.name);
    if (unused.path.empty() && device.sectors >= sectors) {
      unused.path = path;
      continue;
    }
    Fd other(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    if (!other) return FailErrno(errno, path);
    unused.others.push_back(std::move(other));
  }
  if (!unused.path.empty()) return unused;
  auto made = Make(tag, sectors);
  if (!made) return Pass(made);
  unused.path = *made;
  return unused;
}

Result<VolumeDevices::Unused> VolumeDevices::UnusedOrigin(uint64_t sectors) {
  return Take("-1", sectors);
}

Result<VolumeDevices::Unused> VolumeDevices::UnusedSnapshot(Tag tag, uint64_t sectors) {
  return Take(std::to_string(tag), sectors);
}

Result<std::string> VolumeDevices::Origin(uint64_t sectors) {
  for (const dm::DdsnapDevice& device : Origins())
    if (device.sectors >= sectors) return PathOf(device.name);
  return Make("-1", sectors);
}

}  // namespace ddsnap
