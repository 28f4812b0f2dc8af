// SPDX-License-Identifier: GPL-2.0
// Test content that describes itself: each block says which one it is, of
// which run, and can be checked with no other knowledge.
#ifndef DDSNAP_REPL_SPAM_H_
#define DDSNAP_REPL_SPAM_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ddsnap::repl {

inline constexpr size_t kSpamBlock = 4096;  // bytes

struct SpamId {
  uint64_t block = 0;       // its place on the device, in blocks
  uint64_t generation = 0;  // of the run that wrote it
  uint64_t seed = 0;
  bool operator==(const SpamId&) const = default;
};

// Fills `out` (kSpamBlock bytes).
void FillSpam(const SpamId& id, std::span<std::byte> out);

// What the block says it is, if it is whole; nullopt if it is damaged or no
// such block.
[[nodiscard]] std::optional<SpamId> ReadSpam(std::span<const std::byte> block);

// Whether a run that writes `percent` of all blocks writes this one: the same
// blocks for the same seed and generation.
[[nodiscard]] bool SpamChooses(const SpamId& id, unsigned percent);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_SPAM_H_
