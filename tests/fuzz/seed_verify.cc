// SPDX-License-Identifier: GPL-2.0
// Writes the seed corpus of fuzz_verify: seed_verify FOLDER
#include "repl/reply_stream.h"
#include "seed_repl.h"

using namespace ddsnap;
using namespace ddsnap::repl;
using namespace ddsnap::fuzz;

namespace {

constexpr uint32_t kChunk = 4096, kPiece = 1 << 20;
constexpr uint32_t kDevice = 64 << 10;  // as fuzz_verify's

Bytes MakeQuestions(bool mend) {
  MemorySink sink;
  VerifyHead head{.what = Head(0, kDevice), .mend = mend};
  head.what.base = {.none = true};
  VerifyWriter writer(sink, head);
  const bool good = writer.Begin() && writer.Ask({0, kDevice, kPiece}) &&
                    writer.Ask({8 * kChunk, 8 * kChunk, kChunk}) &&
                    (!mend || writer.Mend(2 * kChunk, Bytes(2 * kChunk, std::byte{'a'}))) &&
                    writer.Finish();
  return good ? sink.bytes() : Bytes();
}

// Of a device that differs from fuzz_verify's in some chunks.
Bytes MakeAnswers() {
  MemorySink sink;
  ReplyWriter replies(sink);
  Bytes content(kDevice, std::byte{'a'});
  content[3 * kChunk] = content[4 * kChunk] = content[kDevice - 1] = std::byte{'b'};
  std::vector<Sum> details;
  for (size_t at = 0; at < content.size(); at += kChunk)
    details.push_back(Checksum(std::span<const std::byte>(content).subspan(at, kChunk)));
  const Sum whole = Checksum(std::span<const std::byte>(content));
  const bool good = replies.PutStatus({}) && replies.PutSums({0, kDevice, kPiece}, {&whole, 1}) &&
                    replies.PutSums({0, kDevice, kChunk}, details) &&
                    replies.PutSnapshot(7, true) && replies.PutDone(0);
  return good ? sink.bytes() : Bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  return Save(folder, "compare", MakeQuestions(false)) &&
                 Save(folder, "mend", MakeQuestions(true)) && Save(folder, "answers", MakeAnswers())
             ? 0
             : 1;
}
