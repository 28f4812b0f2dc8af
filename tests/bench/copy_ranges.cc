// SPDX-License-Identifier: GPL-2.0
// What dd does, for many ranges in one process: a thousand starts of dd would
// count as copying.  Standard input has a range a line: its first chunk and how many.
//   bench-copy-ranges FROM TO CHUNK_BYTES
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "repl/aligned_bytes.h"
#include "repl/content_device.h"

namespace {

using ddsnap::Status;
using ddsnap::repl::ContentDevice;

constexpr uint64_t kPiece = 1 << 20;  // as bs=1M

Status CopyAll(const ContentDevice& from, const ContentDevice& to, uint64_t chunk_size) {
  ddsnap::repl::AlignedBytes buffer(kPiece);
  uint64_t chunk = 0;
  uint64_t count = 0;
  while (std::cin >> chunk >> count) {
    const uint64_t end = std::min((chunk + count) * chunk_size, from.size());
    for (uint64_t at = chunk * chunk_size; at < end;) {
      const auto piece = std::span(buffer).first(std::min(kPiece, end - at));
      if (Status s = from.Read(at, piece); !s) return s;
      if (Status s = to.Write(at, piece); !s) return s;
      at += piece.size();
    }
  }
  if (!std::cin.eof()) return ddsnap::Fail(EINVAL, "standard input: not a list of ranges");
  return to.Flush();
}

Status Run(const char* from_path, const char* to_path, uint64_t chunk_size) {
  auto from = ContentDevice::OpenToRead(from_path);
  if (!from) return Pass(from);
  auto to = ContentDevice::OpenToChange(to_path);
  if (!to) return Pass(to);
  return CopyAll(**from, **to, chunk_size);
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t chunk_size = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 0;
  if (chunk_size == 0) {
    std::fprintf(stderr, "usage: bench-copy-ranges FROM TO CHUNK_BYTES <RANGES\n");
    return 2;
  }
  if (Status s = Run(argv[1], argv[2], chunk_size); !s) {
    std::fprintf(stderr, "bench-copy-ranges: %s\n", s.error().text.c_str());
    return 1;
  }
  return 0;
}
