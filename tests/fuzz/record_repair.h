// SPDX-License-Identifier: GPL-2.0
// What the fuzzers of record streams share.
#ifndef DDSNAP_TESTS_FUZZ_RECORD_REPAIR_H_
#define DDSNAP_TESTS_FUZZ_RECORD_REPAIR_H_

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "repl/format.h"

namespace ddsnap::fuzz {

// Numbers and sums of all records as they should be, as far as the sizes lead.
inline void Repair(std::span<std::byte> bytes) {
  using namespace ddsnap::repl;
  Sum previous;
  size_t at = sizeof(RawBegin);
  if (bytes.size() < at) return;
  std::memcpy(previous.data(), bytes.data(), sizeof previous);
  for (uint64_t number = 0; bytes.size() - at >= sizeof(RawRecord); ++number) {
    RawRecord head;
    std::memcpy(&head, bytes.data() + at, sizeof head);
    const size_t rest = bytes.size() - at - sizeof head;
    if (head.body_size > rest || head.payload_size > rest - head.body_size) return;
    head.number = number;
    const auto* raw = reinterpret_cast<const std::byte*>(&head);
    const auto body = bytes.subspan(at + sizeof head, head.body_size);
    const auto payload = bytes.subspan(at + sizeof head + head.body_size, head.payload_size);
    if (head.type == kExtent && body.size() >= sizeof(RawExtent)) {
      RawExtent extent;
      std::memcpy(&extent, body.data(), sizeof extent);
      extent.payload_sum = Checksum(payload);
      if (extent.kind == 0) extent.target_sum = extent.payload_sum;
      std::memcpy(body.data(), &extent, sizeof extent);
    }
    head.sum = Checksum({std::as_bytes(std::span(previous)), {raw, kSummedHead}, body});
    previous = head.sum;
    std::memcpy(bytes.data() + at, &head, sizeof head);
    at += sizeof head + body.size() + payload.size();
  }
}

// The input without its first byte; with right sums if that is odd.
inline std::vector<std::byte> Prepare(const uint8_t* data, size_t size) {
  if (size == 0) return {};
  const auto all = std::as_bytes(std::span(data + 1, size - 1));
  std::vector<std::byte> bytes(all.begin(), all.end());
  if (data[0] % 2 == 1) Repair(bytes);
  return bytes;
}

}  // namespace ddsnap::fuzz

#endif  // DDSNAP_TESTS_FUZZ_RECORD_REPAIR_H_
