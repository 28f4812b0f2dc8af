// SPDX-License-Identifier: GPL-2.0
// Writes the seed corpus of fuzz_delta: seed_delta FOLDER
#include <random>

#include "repl/extent_codec.h"
#include "seed_repl.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::fuzz;

namespace {

// One extent of 4 KiB for each of a few contents.
Bytes MakeDelta(Mode mode, int level) {
  constexpr size_t kSize = 4096;
  std::minstd_rand random(1);
  const Bytes base(kSize, std::byte{'b'});  // as fuzz_delta's
  Bytes noise(kSize), similar = base;
  for (std::byte& b : noise) b = static_cast<std::byte>(random());
  similar[100] = std::byte{'c'};
  const Bytes contents[] = {Bytes(kSize), Bytes(kSize, std::byte{'a'}), similar, noise};
  MemorySink sink;
  DeltaWriter writer(sink, {Head(1 << 20, 1 << 20), 4 * kSize, 0});
  ExtentEncoder encoder(mode, level);
  if (!writer.Begin()) return {};
  Extent extent{.offset = 0, .length = kSize, .base_length = kSize};
  for (const Bytes& content : contents) {
    auto payload = encoder.Encode(&extent, base, content);
    if (!payload || !writer.Add(extent, *payload)) return {};
    extent.offset += 2 * kSize;
  }
  if (!writer.Finish()) return {};
  return sink.bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  return Save(folder, "raw", MakeDelta(Mode::kRaw, 0)) &&
                 Save(folder, "zstd", MakeDelta(Mode::kRaw, 3)) &&
                 Save(folder, "diff", MakeDelta(Mode::kDiff, 3)) &&
                 Save(folder, "best", MakeDelta(Mode::kBest, 3))
             ? 0
             : 1;
}
