// SPDX-License-Identifier: GPL-2.0
// Opening a volume: the part that touches devices.
#include "volume.h"

#include <cerrno>
#include <utility>

#include "base/uuid.h"
#include "io/device_number.h"
#include "io/file_device.h"

namespace ddsnap::server {
namespace {

Result<wire::Device> WireNumber(const std::string& path) {
  auto number = NumberOf(path);
  if (!number) return Pass(number);
  return wire::Device{number->major, number->minor};
}

}  // namespace

Result<std::unique_ptr<Volume>> Volume::Open(const Paths& paths, uint64_t cache_bytes) {
  auto volume = std::unique_ptr<Volume>(new Volume);
  volume->state_dir_ = paths.state_dir;
  volume->origin_path_ = paths.origin;
  auto store_number = WireNumber(paths.store);
  if (!store_number) return Pass(store_number);
  auto origin_number = WireNumber(paths.origin);
  if (!origin_number) return Pass(origin_number);
  volume->devices_ = {*store_number, *origin_number};
  if (*store_number == *origin_number) {
    return Fail(EINVAL, paths.store + " and " + paths.origin + " are the same device");
  }
  auto store = FileDevice::Open(paths.store, {.lock = true});
  if (!store) return Pass(store);
  volume->store_device_ = std::move(*store);
  if (!paths.meta.empty()) {
    auto meta = FileDevice::Open(paths.meta, {.exclusive = true, .lock = true});
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

}  // namespace ddsnap::server
