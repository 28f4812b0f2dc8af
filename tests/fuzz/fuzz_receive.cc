// SPDX-License-Identifier: GPL-2.0
// Any bytes as a stream that is received: on a device in memory, cut off where the input says, and
// received again from its beginning.  The first byte as of fuzz_delta.  Also any bytes as a state,
// a token, replies, and an RBD diff.
#include "lib/fault_content.h"
#include "record_repair.h"
#include "repl/rbd_diff.h"
#include "repl/receive_delta.h"
#include "repl/reply_stream.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::test;

namespace {

constexpr size_t kDevice = 64 << 10;

void CheckAcknowledged(FaultLog& log) {
  auto state = log.Load();
  if (!state || !*state) return;
  if ((*state)->position > (*state)->limit || (*state)->limit > kDevice) std::abort();
}

void Receive(std::span<const std::byte> bytes, FaultContent& device, FaultLog& log) {
  MemorySource source(bytes, false);
  ReceiveOptions options;
  options.threads = 1;
  options.window_ns = 0;
  options.before = [](const DeltaHead&) -> Result<std::optional<Tag>> { return Tag{1}; };
  options.completed = [](const DeltaHead&) -> Result<std::optional<Tag>> { return Tag{2}; };
  options.same_as = [](const LocalSnapshot& snapshot, uint64_t from) -> Result<bool> {
    return snapshot.tag == 2 || from > 0;
  };
  if (auto done = ReceiveDelta(source, device, log, options)) {
    if (done->head.common.target.size > kDevice) std::abort();
    auto state = log.Load();
    if (!state || !*state || !(*state)->complete) std::abort();
  }
  CheckAcknowledged(log);
}

void ReadReplies(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  ReplyReader replies(source);
  while (replies.Next()) {
  }
}

// What could be imported can be exported.
void ReadRbd(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  MemorySink delta, again;
  RbdImport options;
  options.mode = Mode::kRaw;
  if (!ImportRbd(source, nullptr, delta, options)) return;
  MemorySource made(delta.bytes());
  if (!ExportRbd(made, nullptr, again, {})) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::byte> bytes = fuzz::Prepare(data, size);
  Power power;
  FaultLog log(power);
  FaultContent device(std::vector<std::byte>(kDevice, std::byte{'b'}), power);
  Receive(std::span(bytes).first(bytes.size() / 2), device, log);
  Receive(bytes, device, log);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (auto state = ParseState(text); state && !ParseState(FormatState(*state))) std::abort();
  if (auto token = ParseToken(text); token && *ParseToken(FormatToken(*token)) != *token)
    std::abort();
  ReadReplies(bytes);
  ReadRbd(bytes);
  return 0;
}
