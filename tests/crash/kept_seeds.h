// SPDX-License-Identifier: GPL-2.0
// Seeds that once failed are run before all others: those of the file
// tests/crash/seeds, which is kept with the sources, and those that failed in
// this build tree since.  A line is "TEST SEED", and '#' begins a comment.
#ifndef DDSNAP_TESTS_CRASH_KEPT_SEEDS_H_
#define DDSNAP_TESTS_CRASH_KEPT_SEEDS_H_

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace ddsnap {

inline constexpr char kFailedSeeds[] = "tests/crash/failed-seeds";  // in the build tree

// In the order of the files, `make check` says where the sources are.
inline std::vector<uint64_t> KeptSeeds(const std::string& test) {
  const char* srcdir = std::getenv("srcdir");
  std::vector<uint64_t> seeds;
  for (const std::string& path :
       {std::string(srcdir != nullptr ? srcdir : ".") + "/tests/crash/seeds",
        std::string(kFailedSeeds)}) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string of;
      uint64_t seed = 0;
      if (words >> of >> seed && of == test) seeds.push_back(seed);
    }
  }
  return seeds;
}

inline void KeepSeed(const std::string& test, uint64_t seed) {
  for (const uint64_t kept : KeptSeeds(test))
    if (kept == seed) return;
  std::ofstream(kFailedSeeds, std::ios::app) << test << ' ' << seed << '\n';
}

}  // namespace ddsnap

#endif  // DDSNAP_TESTS_CRASH_KEPT_SEEDS_H_
