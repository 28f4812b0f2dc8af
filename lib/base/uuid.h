// SPDX-License-Identifier: GPL-2.0
// UUIDs as text, and the name of the running kernel instance.
#ifndef DDSNAP_BASE_UUID_H_
#define DDSNAP_BASE_UUID_H_

#include <string>

#include "base/chunk.h"
#include "base/status.h"

namespace ddsnap {

// "0123abcd-4567-...": lower case, with dashes.
[[nodiscard]] std::string FormatUuid(const Uuid& uuid);
[[nodiscard]] Result<Uuid> ParseUuid(const std::string& text);

// The identity of this boot: /proc/sys/kernel/random/boot_id.
[[nodiscard]] Result<Uuid> ReadBootId();

}  // namespace ddsnap

#endif  // DDSNAP_BASE_UUID_H_
