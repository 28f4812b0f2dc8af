// SPDX-License-Identifier: GPL-2.0
#include "host/device_names.h"

#include <fcntl.h>
#include <libudev.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>

#include "base/fd.h"

namespace ddsnap {
namespace {

using Clock = std::chrono::steady_clock;
using Udev = std::unique_ptr<udev, decltype(&udev_unref)>;
using Monitor = std::unique_ptr<udev_monitor, decltype(&udev_monitor_unref)>;
using Device = std::unique_ptr<udev_device, decltype(&udev_device_unref)>;

Udev NewUdev() { return {udev_new(), udev_unref}; }

Device FindDevice(udev* context, const DeviceNumber& number) {
  return {udev_device_new_from_devnum(context, 'b', makedev(number.major, number.minor)),
          udev_device_unref};
}

// Hears of every block device that udev has finished with.
class Events {
 public:
  Events() : udev_(NewUdev()), monitor_(nullptr, udev_monitor_unref) {
    if (!udev_) return;
    monitor_.reset(udev_monitor_new_from_netlink(udev_.get(), "udev"));
    if (!monitor_) return;
    (void)udev_monitor_filter_add_match_subsystem_devtype(monitor_.get(), "block", nullptr);
    if (udev_monitor_enable_receiving(monitor_.get()) < 0) monitor_.reset();
  }

  // Until `done` says so, which looks at first and after every event; false
  // when the time is up.  It also looks every second: somebody else than udev
  // may have made the name.
  bool WaitUntil(const std::function<bool(udev_device* event)>& done, uint64_t timeout_ms) {
    constexpr int64_t kLookAgainMs = 1000;
    const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
    if (done(nullptr)) return true;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
      if (left <= 0) return false;
      pollfd ready = {.fd = monitor_ ? udev_monitor_get_fd(monitor_.get()) : -1,
                      .events = POLLIN,
                      .revents = 0};
      (void)::poll(&ready, 1, static_cast<int>(std::min(left, kLookAgainMs)));
      const Device event(monitor_ && (ready.revents & POLLIN) != 0
                             ? udev_monitor_receive_device(monitor_.get())
                             : nullptr,
                         udev_device_unref);
      if (done(event.get())) return true;
    }
  }

 private:
  Udev udev_;
  Monitor monitor_;
};

Status TimedOut(const std::string& path, uint64_t timeout_ms) {
  return Fail(ETIMEDOUT,
              path + ": has not appeared within " + std::to_string(timeout_ms / 1000) + " s");
}

bool IsBlockDevice(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode);
}

// Better names first; names of contents and of the path that leads to the device are not here.
constexpr std::string_view kStablePrefixes[] = {
    "/dev/disk/by-id/wwn-",        "/dev/disk/by-id/nvme-eui", "/dev/disk/by-id/md-uuid-",
    "/dev/disk/by-id/dm-uuid-LVM", "/dev/disk/by-id/",         "/dev/disk/by-partuuid/"};

size_t Rank(std::string_view name) {
  const auto* const it =
      std::ranges::find_if(kStablePrefixes, [&](auto prefix) { return name.starts_with(prefix); });
  return static_cast<size_t>(it - std::begin(kStablePrefixes));
}

// Logical volumes and device-mapper devices have names that people chose.
bool HasChosenName(const std::string& path) {
  return path.starts_with("/dev/mapper/") || path.starts_with("/dev/disk/by-") ||
         path.starts_with("/dev/md/");
}

std::string CanonicalOr(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

// A link of somebody's own may go, and a name that is not whole means nothing elsewhere.
std::string Resolved(const std::string& path) {
  return path.starts_with("/dev/") ? path : CanonicalOr(path);
}

}  // namespace

Status WaitForDevice(const std::string& path, uint64_t timeout_ms) {
  if (IsBlockDevice(path)) return {};
  Events events;
  if (events.WaitUntil([&](udev_device*) { return IsBlockDevice(path); }, timeout_ms)) return {};
  return TimedOut(path, timeout_ms);
}

Status WaitForName(const std::string& path, const DeviceNumber& number, uint64_t timeout_ms) {
  const auto there = [&](udev_device*) {
    const auto found = NumberOf(path);
    return found && *found == number;
  };
  Events events;
  if (events.WaitUntil(there, timeout_ms)) return {};
  return TimedOut(path, timeout_ms);
}

Result<std::vector<std::string>> NamesOf(const DeviceNumber& number) {
  const Udev context = NewUdev();
  const Device device =
      context ? FindDevice(context.get(), number) : Device(nullptr, udev_device_unref);
  if (!device) return Fail(ENODEV, "udev does not know the device");
  std::vector<std::string> names;
  if (const char* node = udev_device_get_devnode(device.get())) names.emplace_back(node);
  udev_list_entry* entry = nullptr;
  udev_list_entry_foreach(entry, udev_device_get_devlinks_list_entry(device.get())) {
    names.emplace_back(udev_list_entry_get_name(entry));
  }
  return names;
}

bool IsContentName(std::string_view path) {
  if (path.starts_with("/dev/")) path.remove_prefix(5);
  return path.starts_with("disk/by-uuid/") || path.starts_with("disk/by-label/") ||
         path.starts_with("disk/by-id/lvm-pv-uuid-");
}

std::string StableName(const std::string& given) {
  const std::string path = Resolved(given);
  if (HasChosenName(path) && !IsContentName(path)) return path;
  const auto number = NumberOf(path);
  if (!number) return path;
  auto names = NamesOf(*number);
  if (!names) return IsContentName(path) ? CanonicalOr(path) : path;
  std::ranges::sort(*names);
  // "/dev/GROUP/VOLUME" of LVM is as good as anything.
  if (path.starts_with("/dev/") && path.find('/', 5) != std::string::npos &&
      std::ranges::find(*names, path) != names->end() && !IsContentName(path))
    return path;
  std::erase_if(*names, [](const auto& name) {
    return Rank(name) == std::size(kStablePrefixes) || IsContentName(name);
  });
  // A name of the contents goes when the device is marked as a member.
  if (names->empty()) return IsContentName(path) ? CanonicalOr(path) : path;
  return *std::ranges::min_element(*names, {}, [](const auto& name) { return Rank(name); });
}

Status Retrigger(const DeviceNumber& number, uint64_t timeout_ms) {
  if (::access("/run/udev/control", F_OK) != 0) return {};
  const std::string name = std::to_string(number.major) + ":" + std::to_string(number.minor);
  const std::string uevent = "/sys/dev/block/" + name + "/uevent";
  Events events;
  const Fd fd(::open(uevent.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), "change", 6) != 6) return FailErrno(errno, uevent);
  const dev_t wanted = makedev(number.major, number.minor);
  const auto seen = [&](udev_device* event) {
    return event != nullptr && udev_device_get_devnum(event) == wanted;
  };
  if (events.WaitUntil(seen, timeout_ms)) return {};
  return Fail(ETIMEDOUT, "device " + name + ": udev has not looked at it within " +
                             std::to_string(timeout_ms / 1000) + " s");
}

}  // namespace ddsnap
