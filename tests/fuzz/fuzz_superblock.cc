// SPDX-License-Identifier: GPL-2.0
// Edited superblocks with right checksums: parsed, and a store opened by them.
#include "store_image.h"

using namespace ddsnap;
using namespace ddsnap::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  DamagedImage image;
  Input input(data, size);
  const unsigned how = static_cast<unsigned>(input.Number(1));
  for (unsigned copy = 0; copy < 2; ++copy) {
    const uint64_t block = SuperblockPlace(copy);
    if ((how & (1 + copy)) == 0) continue;
    Edit(image, block, input, 1 + (how >> 4));
    if ((how & 4) == 0) image.Repair(block);
    (void)ParseSuperblock({image.At(block), kBlock}, block, "image");
  }
  Exercise(image);
  return 0;
}
