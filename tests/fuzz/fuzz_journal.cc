// SPDX-License-Identifier: GPL-2.0
// Batches of any records, rightly framed or edited afterwards, behind the image's own.
#include "store/journal.h"
#include "store_image.h"

using namespace ddsnap;
using namespace ddsnap::fuzz;

namespace {

// Payloads of a record's size, made of small numbers: only those can be right.
std::vector<std::byte> Payload(Input& input) {
  const size_t words = input.Number(1) % 9;
  std::vector<std::byte> bytes(words * 8);
  for (size_t i = 0; i < words; ++i) {
    const uint64_t kind = input.Number(1);
    uint64_t value = input.Number(kind % 4 == 3 ? 8 : 2);
    if (kind % 4 == 2) value = ~value;
    std::memcpy(bytes.data() + i * 8, &value, 8);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  DamagedImage image;
  Input input(data, size);
  auto found = ReadSuperblock(image);
  Must(found.has_value());
  const Superblock& super = found->super;
  Journal journal(image, super.uuid, super.journal_block, super.journal_blocks,
                  super.journal_position, super.journal_sequence);
  Must(journal.Replay([](uint16_t, uint16_t, std::span<const std::byte>) { return Status(); })
           .has_value());
  for (unsigned batch = 0; batch < 4 && !input.empty(); ++batch) {
    for (uint64_t records = 1 + input.Number(1) % 8; records > 0; --records) {
      const uint64_t type = input.Number(1);
      const auto flags = static_cast<uint16_t>(input.Number(1) % 2);
      const auto payload = Payload(input);
      journal.Append(static_cast<disk::RecordType>(type % (disk::kRecordTypes + 1)), flags, payload);
    }
    if (!journal.Commit()) break;
  }
  // Damage behind the framing: lengths and checksums that do not fit.
  if (input.Number(1) % 4 == 1) {
    Edit(image, super.journal_block + input.Number(1) % super.journal_blocks, input, 4);
  }
  Exercise(image);
  return 0;
}
