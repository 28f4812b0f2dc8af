// SPDX-License-Identifier: GPL-2.0
#include "dm/dm.h"

#include <fcntl.h>
#include <libdevmapper.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "base/fd.h"

namespace ddsnap::dm {
namespace {

using Task = std::unique_ptr<dm_task, decltype(&dm_task_destroy)>;

// libdevmapper prints its errors by default: ours go to the caller.
void Quiet(int, const char*, int, int, const char*, ...) {}

Task NewTask(int type) {
  dm_log_with_errno_init(Quiet);
  return {dm_task_create(type), dm_task_destroy};
}

Status RunTask(dm_task* task, const std::string& what) {
  if (dm_task_run(task)) return {};
  const int error = dm_task_get_errno(task);
  return FailErrno(error != 0 ? error : (errno != 0 ? errno : EIO), what);
}

// libdevmapper looks for its control node by name; without one there is no
// device-mapper, and it would try to load modules.
// The node may be there without a driver behind it.
Status CheckControl() {
  const Fd control(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
  if (!control) return FailErrno(errno, "/dev/mapper/control");
  return {};
}

// "253:4" or a path.
std::optional<DeviceNumber> ParseDevice(const std::string& text) {
  DeviceNumber number;
  const size_t colon = text.find(':');
  if (colon != std::string::npos && text[0] != '/') {
    const char* end = text.data() + text.size();
    const auto major = std::from_chars(text.data(), end, number.major);
    const auto minor = std::from_chars(text.data() + colon + 1, end, number.minor);
    if (major.ec != std::errc() || minor.ec != std::errc()) return std::nullopt;
    return number;
  }
  struct stat st {};
  if (::stat(text.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) return std::nullopt;
  return DeviceNumber{major(st.st_rdev), minor(st.st_rdev)};
}

// The device's table, if it is a ddsnap target; nullopt for other devices and
// for those that vanish while we look.
std::optional<DdsnapDevice> ReadTable(const dm_names& entry) {
  Task task = NewTask(DM_DEVICE_TABLE);
  if (!task || !dm_task_set_name(task.get(), entry.name) || !dm_task_run(task.get())) {
    return std::nullopt;
  }
  uint64_t start = 0, length = 0;
  char* type = nullptr;
  char* params = nullptr;
  (void)dm_get_next_target(task.get(), nullptr, &start, &length, &type, &params);
  if (type == nullptr || params == nullptr || std::string(type) != "ddsnap") return std::nullopt;
  DdsnapDevice device;
  device.name = entry.name;
  if (const char* uuid = dm_task_get_uuid(task.get())) device.uuid = uuid;
  device.number = {major(entry.dev), minor(entry.dev)};
  std::string store, origin;
  std::istringstream(params) >> store >> origin >> device.socket >> device.tag;
  const auto store_number = ParseDevice(store);
  const auto origin_number = ParseDevice(origin);
  if (!store_number || !origin_number) return std::nullopt;
  device.sectors = length;
  device.store = *store_number;
  device.origin = *origin_number;
  return device;
}

}  // namespace

Status SendMessage(const DeviceNumber& device, const std::string& message) {
  const std::string what =
      "message to device " + std::to_string(device.major) + ":" + std::to_string(device.minor);
  if (Status s = CheckControl(); !s) return s;
  Task task = NewTask(DM_DEVICE_TARGET_MSG);
  if (!task || !dm_task_set_major(task.get(), static_cast<int>(device.major)) ||
      !dm_task_set_minor(task.get(), static_cast<int>(device.minor)) ||
      !dm_task_set_sector(task.get(), 0) || !dm_task_set_message(task.get(), message.c_str())) {
    return FailErrno(ENOMEM, what);
  }
  return RunTask(task.get(), what);
}

Result<DeviceNumber> NumberOfName(const std::string& name) {
  if (Status s = CheckControl(); !s) return Pass(s);
  Task task = NewTask(DM_DEVICE_INFO);
  if (!task || !dm_task_set_name(task.get(), name.c_str())) return FailErrno(ENOMEM, name);
  if (Status s = RunTask(task.get(), name); !s) return Pass(s);
  dm_info info{};
  if (!dm_task_get_info(task.get(), &info) || !info.exists) return FailErrno(ENXIO, name);
  return DeviceNumber{info.major, info.minor};
}

std::string NameOf(const DeviceNumber& number) {
  std::string name;
  std::ifstream("/sys/dev/block/" + std::to_string(number.major) + ":" +
                std::to_string(number.minor) + "/dm/name") >>
      name;
  return name;
}

Result<uint32_t> OpenCount(const std::string& name) {
  if (Status s = CheckControl(); !s) return Pass(s);
  Task task = NewTask(DM_DEVICE_INFO);
  if (!task || !dm_task_set_name(task.get(), name.c_str())) return FailErrno(ENOMEM, name);
  if (Status s = RunTask(task.get(), name); !s) return Pass(s);
  dm_info info{};
  if (!dm_task_get_info(task.get(), &info) || !info.exists) return FailErrno(ENXIO, name);
  return static_cast<uint32_t>(std::max(info.open_count, 0));
}

Result<std::vector<DdsnapDevice>> ListDdsnapDevices() {
  if (Status s = CheckControl(); !s) return Pass(s);
  Task task = NewTask(DM_DEVICE_LIST);
  if (!task) return FailErrno(ENOMEM, "device list");
  if (Status s = RunTask(task.get(), "device list"); !s) return Pass(s);
  std::vector<DdsnapDevice> devices;
  const dm_names* entry = dm_task_get_names(task.get());
  if (entry == nullptr || entry->dev == 0) return devices;
  for (;;) {
    if (auto device = ReadTable(*entry)) devices.push_back(std::move(*device));
    if (entry->next == 0) return devices;
    entry = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(entry) + entry->next);
  }
}

namespace {

// Runs the task and waits for the udev rules that it sets off, if udev is there.
Status RunAndSettle(dm_task* task, const std::string& what, uint16_t udev_flags = 0) {
  uint32_t cookie = 0;
  if (!dm_task_set_cookie(task, &cookie, udev_flags)) return FailErrno(ENOMEM, what + ": udev cookie");
  Status s = RunTask(task, what);
  // Also after a failure: it gives the cookie back.
  if (!dm_udev_wait(cookie) && s) s = Fail(EIO, what + ": udev did not finish");
  return s;
}

}  // namespace

Status CreateDevice(const NewDevice& device) {
  if (Status s = CheckControl(); !s) return s;
  Task task = NewTask(DM_DEVICE_CREATE);
  if (!task || !dm_task_set_name(task.get(), device.name.c_str()) ||
      (!device.uuid.empty() && !dm_task_set_uuid(task.get(), device.uuid.c_str())) ||
      (device.read_only && !dm_task_set_ro(task.get())) ||
      !dm_task_add_target(task.get(), 0, device.sectors, device.target.c_str(),
                          device.params.c_str()) ||
      !dm_task_set_add_node(task.get(), DM_ADD_NODE_ON_CREATE)) {
    return FailErrno(ENOMEM, device.name);
  }
  constexpr uint16_t kHidden = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                               DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
  return RunAndSettle(task.get(), device.name + ": create", device.hidden ? kHidden : 0);
}

namespace {

Status Resume(const std::string& name, const std::string& what) {
  Task task = NewTask(DM_DEVICE_RESUME);
  if (!task || !dm_task_set_name(task.get(), name.c_str())) return FailErrno(ENOMEM, name);
  return RunAndSettle(task.get(), name + what);
}

void ClearTable(const std::string& name) {
  Task task = NewTask(DM_DEVICE_CLEAR);
  if (task && dm_task_set_name(task.get(), name.c_str())) (void)dm_task_run(task.get());
}

}  // namespace

// The kernel takes the new table out of its slot, suspends, and swaps.  A swap that fails, such as
// one whose limits do not fit, leaves the device suspended with the old table: all that is to be
// written there would wait for ever.  Nothing is in the slot then, so that resuming once more is
// resuming the old table.  A failure before that leaves the new one in its slot: it is cleared
// first, for the same reason.
Status ReloadDevice(const NewDevice& device) {
  if (Status s = CheckControl(); !s) return s;
  Task load = NewTask(DM_DEVICE_RELOAD);
  if (!load || !dm_task_set_name(load.get(), device.name.c_str()) ||
      (device.read_only && !dm_task_set_ro(load.get())) ||
      !dm_task_add_target(load.get(), 0, device.sectors, device.target.c_str(),
                          device.params.c_str())) {
    return FailErrno(ENOMEM, device.name);
  }
  if (Status s = RunTask(load.get(), device.name + ": new table"); !s) return s;
  Status s = Resume(device.name, ": switch to the new table");
  if (s) return s;
  ClearTable(device.name);
  if (Status again = Resume(device.name, ": back to the old table"); !again)
    return Fail(s.error().code, s.error().text + "; " + again.error().text +
                                    ": it may be suspended, dmsetup resume " + device.name);
  return s;
}

Status RemoveDevice(const std::string& name) {
  if (Status s = CheckControl(); !s) return s;
  Task task = NewTask(DM_DEVICE_REMOVE);
  if (!task || !dm_task_set_name(task.get(), name.c_str()) || !dm_task_retry_remove(task.get())) {
    return FailErrno(ENOMEM, name);
  }
  return RunAndSettle(task.get(), name + ": remove");
}

Status RemoveWhenUnused(const std::string& name) {
  if (Status s = CheckControl(); !s) return s;
  Task task = NewTask(DM_DEVICE_REMOVE);
  if (!task || !dm_task_set_name(task.get(), name.c_str()) || !dm_task_deferred_remove(task.get())) {
    return FailErrno(ENOMEM, name);
  }
  return RunAndSettle(task.get(), name + ": remove later");
}

}  // namespace ddsnap::dm
