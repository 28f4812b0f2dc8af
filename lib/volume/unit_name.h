// SPDX-License-Identifier: GPL-2.0
// Paths as names of systemd units: "String Escaping for Inclusion in Unit
// Names" of systemd.unit(5).
//
// Thread rule: pure functions.
#ifndef DDSNAP_VOLUME_UNIT_NAME_H_
#define DDSNAP_VOLUME_UNIT_NAME_H_

#include <string>
#include <string_view>

namespace ddsnap {

// "/dev/zumastor/a-b" -> "dev-zumastor-a\x2db"; "/" -> "-".
[[nodiscard]] std::string EscapeUnitPath(std::string_view path);

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_UNIT_NAME_H_
