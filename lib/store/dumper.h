// SPDX-License-Identifier: GPL-2.0
// Prints a whole store, for people and for programs.
#ifndef DDSNAP_STORE_DUMPER_H_
#define DDSNAP_STORE_DUMPER_H_

#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/block_device.h"

namespace ddsnap {

// Writes the store to `out` piece by piece: lines of text, or one JSON object.  The
// journal is applied in memory; nothing is written to the devices.
[[nodiscard]] Status DumpStore(BlockDevice& store, BlockDevice* meta, bool json,
                               const std::function<void(std::string_view)>& out);

}  // namespace ddsnap

#endif  // DDSNAP_STORE_DUMPER_H_
