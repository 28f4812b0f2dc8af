// SPDX-License-Identifier: GPL-2.0
// The devices of the volume that is served, and its open store.
#ifndef DDSNAP_SERVER_VOLUME_H_
#define DDSNAP_SERVER_VOLUME_H_

#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "io/block_device.h"
#include "store/snapstore.h"
#include "wire/messages.h"

namespace ddsnap::server {

class Volume {
 public:
  struct Paths {
    std::string store, origin, meta;  // meta: empty without a metadata device
    std::string state_dir;            // of marks that outlive the store
  };

  // Opens store and metadata device exclusively, and recovers the store.
  [[nodiscard]] static Result<std::unique_ptr<Volume>> Open(const Paths& paths,
                                                            uint64_t cache_bytes);

  // A volume around a store that is open already, with made-up devices.
  [[nodiscard]] static std::unique_ptr<Volume> TEST_Wrap(std::unique_ptr<SnapStore> store,
                                                         const wire::VolumeDevices& devices,
                                                         std::string state_dir);

  [[nodiscard]] SnapStore& store() { return *store_; }
  [[nodiscard]] const wire::VolumeDevices& devices() const { return devices_; }
  [[nodiscard]] uint64_t store_sectors() const;  // that the store uses

  struct Sizes {  // of the devices as they are now, in bytes
    uint64_t origin = 0, store = 0, meta = 0;
  };
  [[nodiscard]] Result<Sizes> DeviceSizes() const;

  // True if a kernel may have a device of this volume active: asks device-mapper,
  // or where that is not to be had, the store's memory of it.
  [[nodiscard]] bool MaybeAttached();

  // The length of the longest table that shows the origin; 0 where there is none, or no
  // device-mapper.
  [[nodiscard]] Result<uint64_t> LongestOriginTable() const;  // in bytes

  // Leaves a durable mark that the origin is written to without copies of what the snapshots up to
  // now need; does nothing where there is one.  ETIMEDOUT: its file system does not answer, which
  // may be one on this volume; the mark is made when that goes on, and another call tells.
  [[nodiscard]] Status MarkAbandoned(std::chrono::milliseconds patience);

 private:
  Volume() = default;
  [[nodiscard]] Status ObeyAbandonedMark();
  [[nodiscard]] std::string MarkPath() const;

  std::string state_dir_;
  std::string origin_path_;  // empty in tests
  std::unique_ptr<BlockDevice> store_device_, meta_device_;
  wire::VolumeDevices devices_;
  std::unique_ptr<SnapStore> store_;
  std::future<Status> marking_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_VOLUME_H_
