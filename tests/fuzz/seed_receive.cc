// SPDX-License-Identifier: GPL-2.0
// Writes the seed corpus of fuzz_receive: seed_receive FOLDER
#include "repl/extent_codec.h"
#include "repl/receive_state.h"
#include "repl/reply_stream.h"
#include "seed_repl.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::fuzz;

namespace {

constexpr size_t kChunk = 4096;

// Three extents over a device that is full of 'b's, as fuzz_receive's is.
Bytes MakeStream(Mode mode, bool full, bool base_sums = true) {
  const Bytes base(kChunk, std::byte{'b'});
  Bytes similar = base;
  similar[100] = std::byte{'c'};
  MemorySink sink;
  DeltaHead head{Head(8 * kChunk, 8 * kChunk), 3 * kChunk, 0};
  if (full) head.common.base = {.none = true};
  head.base_sums = base_sums;
  DeltaWriter writer(sink, head);
  ExtentEncoder encoder(mode, 1);
  if (!writer.Begin()) return {};
  Extent extent;
  extent.length = kChunk;
  const uint32_t base_length = full || !base_sums ? 0 : kChunk;
  for (const Bytes& content : {similar, Bytes(kChunk, std::byte{'a'}), Bytes(kChunk)}) {
    extent.base_length = base_length;
    auto payload = encoder.Encode(&extent, std::span(base).first(base_length), content);
    if (!base_sums) {
      extent.base_sum = {};
      extent.base_length = kChunk;
    }
    if (!payload || !writer.Add(extent, *payload)) return {};
    extent.offset += 2 * kChunk;
  }
  if (!writer.Finish()) return {};
  return sink.bytes();
}

Bytes OfText(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Bytes MakeReplies() {
  MemorySink sink;
  ReplyWriter replies(sink);
  ReceiveState state;
  state.what = Head(1 << 20, 1 << 20);
  if (!replies.PutStatus(state) || !replies.PutAck(4096) || !replies.PutFail({5, "why"})) return {};
  return sink.bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  ReceiveState state;
  state.what = Head(1 << 20, 1 << 20);
  state.vouched = state.written = true;
  const std::string rbd = std::string("rbd diff v1\nt\1\0\0\0as\0\x20\0\0\0\0\0\0", 26) +
                          std::string("w\0\1\0\0\0\0\0\0\3\0\0\0\0\0\0\0abce", 21);
  return Save(folder, "raw", MakeStream(Mode::kRaw, false)) &&
                 Save(folder, "best", MakeStream(Mode::kBest, false)) &&
                 Save(folder, "full", MakeStream(Mode::kBest, true)) &&
                 Save(folder, "bookmark", MakeStream(Mode::kBest, false, false)) &&
                 Save(folder, "state", OfText(FormatState(state))) &&
                 Save(folder, "token", OfText(FormatToken(TokenOf(state)))) &&
                 Save(folder, "replies", MakeReplies()) && Save(folder, "rbd", OfText(rbd))
             ? 0
             : 1;
}
