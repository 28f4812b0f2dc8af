// SPDX-License-Identifier: GPL-2.0
// CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of every block
// that is read back.
#ifndef DDSNAP_BASE_CRC32C_H_
#define DDSNAP_BASE_CRC32C_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace ddsnap {

// The CRC of `data`, or of what `crc` covers followed by `data`.
[[nodiscard]] uint32_t Crc32c(std::span<const std::byte> data, uint32_t crc = 0);

}  // namespace ddsnap

#endif  // DDSNAP_BASE_CRC32C_H_
