// SPDX-License-Identifier: GPL-2.0
// A small volume at two moments, and the streams from one to the other.
#ifndef DDSNAP_TESTS_UNIT_JOURNEY_H_
#define DDSNAP_TESTS_UNIT_JOURNEY_H_

#include <algorithm>

#include "repl/create_delta.h"
#include "repl_helpers.h"

namespace ddsnap::unit {

using repl::ContentDevice;
using repl::CreateOptions;
using repl::MemorySink;
using repl::MemorySource;
using repl::Mode;
using repl::StreamHead;

inline constexpr uint32_t kChunk = 4096;
inline constexpr size_t kSize = 12 * kChunk + 512;  // it ends inside a chunk

// A volume at two moments, and what leads from one to the other.
struct Journey {
  Bytes base, target;
  Bytes list;
  StreamHead head;
  explicit Journey(uint64_t seed = 5) {
    Random random(seed);
    base.resize(kSize);
    for (std::byte& b : base) b = static_cast<std::byte>('a' + random() % 4);
    target = base;
    for (const size_t chunk : {1, 2, 5, 7, 12}) target[chunk * kChunk + 9] ^= std::byte{0x40};
    std::fill_n(target.begin() + 9 * kChunk, kChunk, std::byte{0});
    head = MakeHead(kChunk, kSize, kSize);
    list = MakeChangelist(head, {{1, 2}, {5, 1}, {7, 1}, {9, 1}, {12, 1}});
  }
  [[nodiscard]] Bytes Make(Mode mode, bool full, uint64_t begin = 0, uint64_t limit = 0,
                           int level = 0) const {
    const TempFile from(base), to(target);
    MemorySink sink;
    CreateOptions options;
    options.mode = mode;
    options.level = level;
    options.threads = 2;
    options.begin = begin;
    options.no_diff_below = limit;
    MemorySource source(list);
    auto summary =
        full ? CreateFullDelta(head, *to.Open(false), sink, options)
             : CreateDelta(source, from.Open(false).get(), *to.Open(false), sink, options);
    CK_OK(summary);
    return sink.bytes();
  }
  // As it is sent where somebody has written to the base, and made a chunk what the target has.
  [[nodiscard]] Journey WithWrittenBase(size_t chunk) const {
    Journey other = *this;
    std::copy_n(target.begin() + static_cast<ptrdiff_t>(chunk * kChunk), kChunk,
                other.base.begin() + static_cast<ptrdiff_t>(chunk * kChunk));
    return other;
  }
  // The same where the base is a bookmark.
  [[nodiscard]] Bytes MakeWithoutBase(Mode mode, uint64_t begin = 0) const {
    const TempFile to(target);
    MemorySink sink;
    CreateOptions options;
    options.mode = mode;
    options.begin = begin;
    MemorySource source(list);
    CK_OK(CreateDelta(source, nullptr, *to.Open(false), sink, options));
    return sink.bytes();
  }
};

inline Bytes ContentOf(const ContentDevice& device) {
  Bytes out(device.size());
  CK_OK(device.Read(0, out));
  return out;
}

}  // namespace ddsnap::unit

#endif  // DDSNAP_TESTS_UNIT_JOURNEY_H_
