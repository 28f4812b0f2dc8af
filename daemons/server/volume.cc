// SPDX-License-Identifier: GPL-2.0
#include "volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/uuid.h"
#include "dm/dm.h"
#include "io/device_number.h"

namespace ddsnap::server {
namespace {

bool Same(const dm::DeviceNumber& a, const wire::Device& b) {
  return a.major == b.major && a.minor == b.minor;
}

Status SyncFolder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return FailErrno(errno, path);
  return {};
}

}  // namespace

std::unique_ptr<Volume> Volume::TEST_Wrap(std::unique_ptr<SnapStore> store,
                                          const wire::VolumeDevices& devices,
                                          std::string state_dir) {
  auto volume = std::unique_ptr<Volume>(new Volume);
  volume->store_ = std::move(store);
  volume->devices_ = devices;
  volume->state_dir_ = std::move(state_dir);
  return volume;
}

uint64_t Volume::store_sectors() const { return store_->store_size() / 512; }

Result<Volume::Sizes> Volume::DeviceSizes() const {
  if (!store_device_) return Sizes{INT64_MAX, INT64_MAX, INT64_MAX};
  auto origin = SizeOf(origin_path_);
  if (!origin) return Pass(origin);
  return Sizes{*origin, store_device_->size(), meta_device_ ? meta_device_->size() : 0};
}

bool Volume::MaybeAttached() {
  // Device-mapper knows nothing of devices that a test made up.
  const auto devices =
      store_device_ ? dm::ListDdsnapDevices()
                    : Result<std::vector<dm::DdsnapDevice>>(FailErrno(ENODEV, "device-mapper"));
  if (!devices) return store_->attached();
  for (const auto& device : *devices) {
    if (Same(device.store, devices_.store) && Same(device.origin, devices_.origin)) return true;
  }
  if (store_->attached() && !store_->failed()) {
    // The device went away while no server was there to hear it.
    if (Status s = store_->SetAttached(false); !s) Log(LOG_WARNING, s.error().text);
  }
  return false;
}

Result<uint64_t> Volume::LongestOriginTable() const {
  if (!store_device_) return 0;  // made-up devices
  auto devices = dm::ListDdsnapDevices();
  if (!devices) {
    const int code = devices.error().code;
    if (code == ENOENT || code == ENODEV || code == EACCES) return 0;
    return Pass(devices);
  }
  uint64_t longest = 0;
  for (const auto& device : *devices) {
    if (device.tag == "-1" && Same(device.store, devices_.store) &&
        Same(device.origin, devices_.origin))
      longest = std::max(longest, device.sectors * 512);
  }
  return longest;
}

std::string Volume::MarkPath() const {
  return state_dir_ + "/abandoned/" + FormatUuid(store_->uuid());
}

Status Volume::MarkAbandoned() {
  (void)::mkdir(state_dir_.c_str(), 0755);
  const std::string folder = state_dir_ + "/abandoned";
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno(errno, folder);
  const Fd mark(::open(MarkPath().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!mark || ::fsync(mark.get()) != 0) return FailErrno(errno, MarkPath());
  return SyncFolder(folder);
}

// The origin was written to without copies: no snapshot or bookmark of that time is good.
Status Volume::ObeyAbandonedMark() {
  if (::access(MarkPath().c_str(), F_OK) != 0) return {};
  Log(LOG_WARNING, "the store had failed before: all snapshots of that time are given up");
  std::vector<Epoch> good;
  for (const Snapshot& snapshot : store_->snapshots()) {
    if (snapshot.is_base()) good.push_back(snapshot.epoch);
  }
  for (const Epoch epoch : good) {
    if (Status s = store_->GiveUp(epoch); !s) return s;
  }
  if (Status s = store_->Commit(/*flush_copies=*/false); !s) return s;
  if (::unlink(MarkPath().c_str()) != 0) return FailErrno(errno, MarkPath());
  return SyncFolder(state_dir_ + "/abandoned");
}

}  // namespace ddsnap::server
