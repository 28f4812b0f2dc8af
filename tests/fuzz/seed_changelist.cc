// SPDX-License-Identifier: GPL-2.0
// Writes the seed corpus of fuzz_changelist: seed_changelist FOLDER
#include "repl/changelist.h"
#include "seed_repl.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::fuzz;

namespace {

Bytes MakeChangelist(uint64_t base, uint64_t target, int ranges) {
  MemorySink sink;
  ChangelistWriter writer(sink, Head(base, target));
  bool good = true;
  for (int i = 0; i < ranges; ++i) {
    good = good && writer.Add({static_cast<uint64_t>(i) * 5, static_cast<uint64_t>(1 + i % 3)});
  }
  if (!good || !writer.Finish()) return {};
  return sink.bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  return Save(folder, "empty", MakeChangelist(1 << 20, 1 << 20, 0)) &&
                 Save(folder, "some", MakeChangelist(1 << 20, 1 << 20, 20)) &&
                 Save(folder, "grown", MakeChangelist(1 << 20, (1 << 22) + 512, 3)) &&
                 Save(folder, "shrunk", MakeChangelist(1 << 20, 4096 * 7 + 512, 30))
             ? 0
             : 1;
}
