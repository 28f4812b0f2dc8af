// SPDX-License-Identifier: GPL-2.0
// Any bytes as what is asked of a receiver that is compared, on a device in memory, and as what it
// answers.  The first byte as of fuzz_delta.
#include "lib/fault_content.h"
#include "record_repair.h"
#include "repl/compare.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::test;

namespace {

constexpr size_t kDevice = 64 << 10;
constexpr uint32_t kChunk = 4096;

// What was asked of it had places on the device, whatever else it was.
void Ask(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  auto reader = VerifyReader::Open(source);
  if (!reader || reader->head().what.target.size > kDevice) return;
  const bool mend = reader->head().mend;
  Power power;
  const std::vector<std::byte> before(kDevice, std::byte{'b'});
  FaultContent device(before, power);
  MemorySink sink;
  ReplyWriter replies(sink);
  if (!replies.PutStatus({})) std::abort();
  auto answered = Answer(*reader, device, replies, 1);
  if (!answered && answered.error().code != EBADMSG && answered.error().code != ENOTSUP)
    std::abort();
  std::vector<std::byte> after(kDevice);
  if (!device.Read(0, after) || (!mend && after != before)) std::abort();
  // It says nothing that its own reader does not take.
  MemorySource said(sink.bytes());
  ReplyReader said_replies(said);
  size_t end = 0;
  while (said_replies.Next()) ++end;
  if (end == 0 || said_replies.failed()) std::abort();
}

void CompareWith(std::span<const std::byte> bytes) {
  Power power;
  const FaultContent device(std::vector<std::byte>(kDevice, std::byte{'a'}), power);
  StreamHead head;
  head.chunk_size = kChunk;
  head.base = {.none = true};
  head.target.size = kDevice;
  MemorySource source(bytes);
  ReplyReader replies(source);
  if (!replies.Next()) return;
  MemorySink sink;
  VerifyWriter asks(sink, {.what = head, .mend = true});
  uint64_t last = 0, chunks = 0;
  CompareOptions options;
  options.threads = 1;
  options.differs = [&](uint64_t offset, std::span<const std::byte> ours) -> Status {
    if (offset < last || offset % kChunk != 0 || ours.empty() || offset + ours.size() > kDevice)
      std::abort();
    last = offset + ours.size();
    chunks += ours.size() / kChunk;
    return asks.Mend(offset, ours);
  };
  if (!asks.Begin()) std::abort();
  auto summary = Compare(head, device, asks, replies, options);
  if (summary && (summary->compared != kDevice || summary->different != chunks)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::byte> bytes = fuzz::Prepare(data, size);
  Ask(bytes);
  CompareWith(bytes);
  return 0;
}
