// SPDX-License-Identifier: GPL-2.0
// The words that all layers share: see doc/architecture.md for their meaning.
#ifndef DDSNAP_BASE_CHUNK_H_
#define DDSNAP_BASE_CHUNK_H_

#include <array>
#include <cstdint>

namespace ddsnap {

using Epoch = uint64_t;  // a snapshot's number, never used twice; 0: none
using Tag = uint32_t;    // a user's name for a snapshot, 0 .. kMaxTag
using Uuid = std::array<uint8_t, 16>;

inline constexpr Tag kMaxTag = 0xfffffffe;
inline constexpr uint32_t kMinChunkSize = 4096;     // bytes
inline constexpr uint32_t kMaxChunkSize = 1 << 20;  // bytes

struct ChunkRange {  // of origin chunks
  uint64_t chunk = 0;
  uint64_t count = 0;
  bool operator==(const ChunkRange&) const = default;
};

}  // namespace ddsnap

#endif  // DDSNAP_BASE_CHUNK_H_
