// SPDX-License-Identifier: GPL-2.0
#include "repl/spam.h"

#include <cstring>

#include "base/bytes.h"

namespace ddsnap::repl {
namespace {

struct RawSpam {
  char magic[8];
  Le64 block;
  Le64 generation;
  Le64 seed;
};
static_assert(sizeof(RawSpam) == 32);
constexpr char kSpamMagic[9] = "DDSPAM\r\n";

// splitmix64: any two ids differ in about half of all bits of their content.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Start(const SpamId& id) { return Mix(Mix(Mix(id.block) ^ id.generation) ^ id.seed); }

}  // namespace

void FillSpam(const SpamId& id, std::span<std::byte> out) {
  RawSpam head{{}, id.block, id.generation, id.seed};
  std::memcpy(head.magic, kSpamMagic, sizeof head.magic);
  std::memcpy(out.data(), &head, sizeof head);
  uint64_t state = Start(id);
  for (size_t at = sizeof head; at < kSpamBlock; at += sizeof(Le64)) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const Le64 word = state;
    std::memcpy(out.data() + at, &word, sizeof word);
  }
}

std::optional<SpamId> ReadSpam(std::span<const std::byte> block) {
  RawSpam head;
  if (block.size() != kSpamBlock) return std::nullopt;
  std::memcpy(&head, block.data(), sizeof head);
  if (std::memcmp(head.magic, kSpamMagic, sizeof head.magic) != 0) return std::nullopt;
  const SpamId id{head.block, head.generation, head.seed};
  std::byte expected[kSpamBlock];
  FillSpam(id, expected);
  if (std::memcmp(expected, block.data(), kSpamBlock) != 0) return std::nullopt;
  return id;
}

bool SpamChooses(const SpamId& id, unsigned percent) {
  return percent >= 100 || Mix(Start(id)) % 100 < percent;
}

}  // namespace ddsnap::repl
