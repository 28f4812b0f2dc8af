// SPDX-License-Identifier: GPL-2.0
#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace ddsnap {

uint32_t Crc32c(std::span<const std::byte> data, uint32_t crc) {
  // isa-l neither inverts before nor after, takes a non-const pointer that it
  // only reads, and an int length.
  crc = ~crc;
  while (!data.empty()) {
    const size_t n = data.size() < (1u << 30) ? data.size() : (1u << 30);
    auto* p = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
    crc = crc32_iscsi(p, static_cast<int>(n), crc);
    data = data.subspan(n);
  }
  return ~crc;
}

}  // namespace ddsnap
