// SPDX-License-Identifier: GPL-2.0
// What a device seems to hold, as libblkid sees it: asked before a device is
// overwritten.
#ifndef DDSNAP_IO_SIGNATURE_H_
#define DDSNAP_IO_SIGNATURE_H_

#include <string>

#include "base/status.h"

namespace ddsnap {

// The name of a file system, partition table, RAID or volume manager on the
// device or file at `path` ("ext4", "dos", "LVM2_member"); empty if there is none.
[[nodiscard]] Result<std::string> FindSignature(const std::string& path);

// The type of the file system there; empty if there is something else or nothing.
[[nodiscard]] Result<std::string> FindFileSystem(const std::string& path);

}  // namespace ddsnap

#endif  // DDSNAP_IO_SIGNATURE_H_
