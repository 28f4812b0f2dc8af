// SPDX-License-Identifier: GPL-2.0
// What the makers of seeds for changelists and deltas share.
#ifndef DDSNAP_TESTS_FUZZ_SEED_REPL_H_
#define DDSNAP_TESTS_FUZZ_SEED_REPL_H_

#include <fstream>
#include <string>
#include <vector>

#include "repl/stream_head.h"

namespace ddsnap::fuzz {

using Bytes = std::vector<std::byte>;

// Once as it is, once to be repaired after changes.
inline bool Save(const std::string& folder, const std::string& name, const Bytes& bytes) {
  for (const char first : {'0', '1'}) {
    std::ofstream out(folder + "/" + name + "-" + first, std::ios::binary);
    out.put(first);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    if (!out.flush()) return false;
  }
  return true;
}

inline repl::StreamHead Head(uint64_t base, uint64_t target) {
  repl::StreamHead head{.volume = {}, .chunk_size = 4096, .base = {}, .target = {}, .made_ns = 1};
  head.base = {.epoch = 1, .tag = 0, .size = base, .created_ns = 0, .none = false};
  head.target = {.epoch = 2, .tag = 1, .size = target, .created_ns = 0, .none = false};
  return head;
}

}  // namespace ddsnap::fuzz

#endif  // DDSNAP_TESTS_FUZZ_SEED_REPL_H_
