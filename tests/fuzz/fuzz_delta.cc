// SPDX-License-Identifier: GPL-2.0
// Any bytes as a delta: framing, extents and the decoding of payloads, against a base of
// any content.  The first byte decides whether sums are made right first.
#include "record_repair.h"
#include "repl/delta_stream.h"
#include "repl/extent_codec.h"

using namespace ddsnap;
using namespace ddsnap::repl;

namespace {

void CheckPlace(const Extent& extent, const DeltaHead& head, uint64_t end) {
  const uint64_t target = head.common.target.size;
  if (extent.offset < end || extent.length == 0 || extent.length > kMaxExtent ||
      extent.offset >= target || extent.length > target - extent.offset ||
      extent.base_length > extent.length) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::vector<std::byte> base(kMaxExtent, std::byte{'b'});
  static std::vector<std::byte> room(kMaxExtent);
  static ExtentDecoder decoder;
  const std::vector<std::byte> bytes = fuzz::Prepare(data, size);
  MemorySource source(bytes);
  auto delta = DeltaReader::Open(source);
  if (!delta) return 0;
  Extent extent;
  Record record;
  uint64_t end = 0;
  for (;;) {
    auto more = delta->Next(&extent, &record);
    if (!more || !*more) return 0;
    CheckPlace(extent, delta->head(), end);
    end = extent.offset + extent.length;
    if (!ExtentDecoder::PayloadIsGood(extent, record.payload)) continue;
    auto content = decoder.Decode(extent, record.payload,
                                  std::span(base).first(extent.base_length), room);
    if (content && (content->size() != extent.length || Checksum(*content) != extent.target_sum)) {
      std::abort();
    }
  }
}
