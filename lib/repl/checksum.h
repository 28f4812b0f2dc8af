// SPDX-License-Identifier: GPL-2.0
// The checksum of replication: XXH3-128 in its canonical form.  It finds
// accidents, not forgeries; doc/delta-format.md says why that is the choice.
#ifndef DDSNAP_REPL_CHECKSUM_H_
#define DDSNAP_REPL_CHECKSUM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace ddsnap::repl {

using Sum = std::array<uint8_t, 16>;

[[nodiscard]] Sum Checksum(std::span<const std::byte> data);

// The sum of several pieces as if they were one; they are copied, so small ones.
[[nodiscard]] Sum Checksum(std::initializer_list<std::span<const std::byte>> pieces);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CHECKSUM_H_
