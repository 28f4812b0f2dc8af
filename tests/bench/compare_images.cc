// SPDX-License-Identifier: GPL-2.0
// Writes the changelist of two images of one size: what a server would have
// recorded between them, but for chunks that were written with what they held.
// Prints how many bytes it names.
//   bench-compare-images OLD NEW CHUNK_BYTES CHANGELIST
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "repl/aligned_bytes.h"
#include "repl/byte_stream.h"
#include "repl/changelist.h"
#include "repl/content_device.h"
#include "repl/format.h"

namespace {

using namespace ddsnap;
using namespace ddsnap::repl;

Result<uint64_t> Compare(const ContentDevice& old, const ContentDevice& fresh, uint64_t chunk_size,
                         ChangelistWriter& list) {
  AlignedBytes was(kMaxExtent), is(kMaxExtent);
  uint64_t bytes = 0;
  for (uint64_t at = 0; at < fresh.size(); at += kMaxExtent) {
    const size_t size = std::min<uint64_t>(kMaxExtent, fresh.size() - at);
    if (Status s = old.Read(at, std::span(was).first(size)); !s) return Pass(s);
    if (Status s = fresh.Read(at, std::span(is).first(size)); !s) return Pass(s);
    for (size_t i = 0; i < size; i += chunk_size) {
      const size_t n = std::min<size_t>(chunk_size, size - i);
      if (std::memcmp(&was[i], &is[i], n) == 0) continue;
      if (Status s = list.Add({(at + i) / chunk_size, 1}); !s) return Pass(s);
      bytes += n;
    }
  }
  if (Status s = list.Finish(); !s) return Pass(s);
  return bytes;
}

Result<uint64_t> Run(char** argv, uint32_t chunk_size) {
  auto old = ContentDevice::OpenToRead(argv[1]);
  if (!old) return Pass(old);
  auto fresh = ContentDevice::OpenToRead(argv[2]);
  if (!fresh) return Pass(fresh);
  const uint64_t size = (*fresh)->size();
  if ((*old)->size() != size) return Fail(EINVAL, "the images are not of one size");
  auto out = FileSink::Create(argv[4]);
  if (!out) return Pass(out);
  StreamHead head;
  head.chunk_size = chunk_size;
  head.base = {.epoch = 1, .tag = 1, .size = size};
  head.target = {.epoch = 2, .tag = 2, .size = size};
  ChangelistWriter list(**out, head);
  auto bytes = Compare(**old, **fresh, chunk_size, list);
  if (!bytes) return bytes;
  if (Status s = (*out)->Commit(); !s) return Pass(s);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned long chunk_size = argc == 5 ? std::strtoul(argv[3], nullptr, 10) : 0;
  if (chunk_size < kMinChunkSize || chunk_size > kMaxChunkSize ||
      (chunk_size & (chunk_size - 1)) != 0) {
    std::fprintf(stderr, "usage: bench-compare-images OLD NEW CHUNK_BYTES CHANGELIST\n");
    return 2;
  }
  auto bytes = Run(argv, static_cast<uint32_t>(chunk_size));
  if (!bytes) {
    std::fprintf(stderr, "bench-compare-images: %s\n", bytes.error().text.c_str());
    return 1;
  }
  std::printf("%llu\n", static_cast<unsigned long long>(*bytes));
  return 0;
}
