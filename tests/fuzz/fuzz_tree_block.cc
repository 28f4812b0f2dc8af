// SPDX-License-Identifier: GPL-2.0
// Edited tree nodes, map pages and slot tables with right checksums.
#include "store_image.h"

using namespace ddsnap;
using namespace ddsnap::fuzz;

namespace {

// The blocks of the image that have a header.
std::vector<uint64_t> FindBlocks() {
  std::vector<uint64_t> blocks;
  for (uint64_t block = 3; block < kImageSize / kBlock; ++block) {
    Le32 magic;
    std::memcpy(static_cast<void*>(&magic), Image().data() + block * kBlock, 4);
    if (magic == disk::kNodeMagic || magic == disk::kMapMagic || magic == disk::kSlotsMagic) {
      blocks.push_back(block);
    }
  }
  Must(!blocks.empty());
  return blocks;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint64_t> blocks = FindBlocks();
  DamagedImage image;
  Input input(data, size);
  while (!input.empty()) {
    const uint64_t block = blocks[input.Number(1) % blocks.size()];
    const unsigned how = static_cast<unsigned>(input.Number(1));
    Edit(image, block, input, 1 + how % 8);
    if (how < 0xf0) image.Repair(block);
  }
  Exercise(image);
  return 0;
}
