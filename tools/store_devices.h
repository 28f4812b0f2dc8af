// SPDX-License-Identifier: GPL-2.0
// The devices of a store that no server serves, opened for initialize, check and dump.
#ifndef DDSNAP_TOOLS_STORE_DEVICES_H_
#define DDSNAP_TOOLS_STORE_DEVICES_H_

#include <memory>
#include <string>

#include "cli/command_table.h"
#include "io/file_device.h"

namespace ddsnap {

struct StorePaths {
  std::string store;
  std::string meta;  // empty: the metadata is on the store
};

class StoreDevices {
 public:
  // EBUSY while a server, a kernel or anybody else uses one of them.
  [[nodiscard]] static Result<StoreDevices> Open(const StorePaths& paths, bool write);
  [[nodiscard]] FileDevice& store() const { return *store_; }
  [[nodiscard]] FileDevice* meta() const { return meta_.get(); }  // null: on the store
  // The one that has the superblocks.
  [[nodiscard]] FileDevice& home() const { return meta_ ? *meta_ : *store_; }

 private:
  StoreDevices() = default;
  std::unique_ptr<FileDevice> store_;
  std::unique_ptr<FileDevice> meta_;
};

// The operands STORE [META].
void AddStorePaths(Arguments& args, StorePaths* paths);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_STORE_DEVICES_H_
