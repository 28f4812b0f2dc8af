// SPDX-License-Identifier: GPL-2.0
#include "store_devices.h"

#include <cerrno>

#include "io/device_number.h"

namespace ddsnap {

Result<StoreDevices> StoreDevices::Open(const StorePaths& paths, bool write) {
  const FileDevice::Options how = {.write = write, .exclusive = true, .lock = true};
  StoreDevices devices;
  if (!paths.meta.empty()) {
    auto store = NumberOf(paths.store);
    if (!store) return Pass(store);
    auto meta = NumberOf(paths.meta);
    if (!meta) return Pass(meta);
    if (*store == *meta) {
      return Fail(EINVAL, paths.store + " and " + paths.meta + " are the same device");
    }
  }
  auto store = FileDevice::Open(paths.store, how);
  if (!store) return Pass(store);
  devices.store_ = std::move(*store);
  if (paths.meta.empty()) return devices;
  auto meta = FileDevice::Open(paths.meta, how);
  if (!meta) return Pass(meta);
  devices.meta_ = std::move(*meta);
  return devices;
}

void AddStorePaths(Arguments& args, StorePaths* paths) {
  args.Add("STORE", &paths->store, "the snapshot store's device or file").Required();
  args.Add("META", &paths->meta, "its metadata device, if it has one");
}

}  // namespace ddsnap
