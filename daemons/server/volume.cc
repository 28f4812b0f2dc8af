// SPDX-License-Identifier: GPL-2.0
#include "volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/uuid.h"
#include "dm/dm.h"
#include "io/device_number.h"
#include "io/file_device.h"

namespace ddsnap::server {
namespace {

Result<wire::Device> WireNumber(const std::string& path) {
  auto number = NumberOf(path);
  if (!number) return Pass(number);
  return wire::Device{number->major, number->minor};
}

bool Same(const dm::DeviceNumber& a, const wire::Device& b) {
  return a.major == b.major && a.minor == b.minor;
}

Status SyncFolder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return FailErrno(errno, path);
  return {};
}

}  // namespace

Result<std::unique_ptr<Volume>> Volume::Open(const Paths& paths, uint64_t cache_bytes) {
  auto volume = std::unique_ptr<Volume>(new Volume);
  volume->state_dir_ = paths.state_dir;
  auto store_number = WireNumber(paths.store);
  if (!store_number) return Pass(store_number);
  auto origin_number = WireNumber(paths.origin);
  if (!origin_number) return Pass(origin_number);
  volume->devices_ = {*store_number, *origin_number};
  if (*store_number == *origin_number) {
    return Fail(EINVAL, paths.store + " and " + paths.origin + " are the same device");
  }
  auto store = FileDevice::Open(paths.store, FileDevice::Mode::kExclusive);
  if (!store) return Pass(store);
  volume->store_device_ = std::move(*store);
  if (!paths.meta.empty()) {
    auto meta = FileDevice::Open(paths.meta, FileDevice::Mode::kExclusive);
    if (!meta) return Pass(meta);
    volume->meta_device_ = std::move(*meta);
  }
  OpenOptions options;
  options.cache_bytes = cache_bytes;
  auto boot = ReadBootId();
  if (!boot) return Pass(boot);
  options.boot_id = *boot;
  auto opened = SnapStore::Open(*volume->store_device_, volume->meta_device_.get(), options);
  if (!opened) return Pass(opened);
  volume->store_ = std::move(*opened);
  auto origin_size = SizeOf(paths.origin);
  if (!origin_size) return Pass(origin_size);
  if (*origin_size < volume->store_->origin_size()) {
    return Fail(EINVAL, paths.origin + ": has " + std::to_string(*origin_size) + " bytes, " +
                            "the store is of an origin with " +
                            std::to_string(volume->store_->origin_size()));
  }
  if (Status s = volume->ObeyAbandonedMark(); !s) return Pass(s);
  return volume;
}

bool Volume::MaybeAttached() {
  const auto devices = dm::ListDdsnapDevices();
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

// The origin was written to without copies: no snapshot of that time is good.
Status Volume::ObeyAbandonedMark() {
  if (::access(MarkPath().c_str(), F_OK) != 0) return {};
  Log(LOG_WARNING, "the store had failed before: all snapshots of that time are given up");
  std::vector<Epoch> good;
  for (const Snapshot& snapshot : store_->snapshots()) {
    if (snapshot.state == Snapshot::State::kOk) good.push_back(snapshot.epoch);
  }
  for (const Epoch epoch : good) {
    if (Status s = store_->GiveUp(epoch); !s) return s;
  }
  if (Status s = store_->Commit(/*flush_copies=*/false); !s) return s;
  if (::unlink(MarkPath().c_str()) != 0) return FailErrno(errno, MarkPath());
  return SyncFolder(state_dir_ + "/abandoned");
}

}  // namespace ddsnap::server
