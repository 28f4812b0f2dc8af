// SPDX-License-Identifier: GPL-2.0
// The whole of a resize, for both tools: the server's part, and the origin's tables.
#ifndef DDSNAP_TOOLS_RESIZING_H_
#define DDSNAP_TOOLS_RESIZING_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/status.h"
#include "cli/arguments.h"

namespace ddsnap {

struct ResizeRequest {
  std::string socket;  // of the server
  std::string own;     // see VolumeDevices
  // Bytes; 0: as large as the device is; nullopt: as it is.
  std::optional<uint64_t> origin, store, meta;
  std::function<void(uint64_t done, uint64_t total)> progress;  // of copies before a shrink
};

// Returns {"origin_size", "store_size", "meta_size"}.
//
// Larger: the device has grown already.  The store may use more at once; the origin's devices
// get longer tables.  Smaller origin: what snapshots need of its end is copied, its devices get
// shorter tables, and only then may its device be cut; nothing may use the end any more.
[[nodiscard]] Result<nlohmann::json> ResizeVolume(const ResizeRequest& request);

// An option whose value is a size, or "max": 0.
Argument AddNewSize(Arguments& args, const std::string& name, std::optional<uint64_t>* size,
                    const std::string& help);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_RESIZING_H_
