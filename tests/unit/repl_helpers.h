// SPDX-License-Identifier: GPL-2.0
// What the tests of replication share: devices as temporary files, random
// contents that compress in all ways, changelists and deltas in memory.
#ifndef DDSNAP_TESTS_UNIT_REPL_HELPERS_H_
#define DDSNAP_TESTS_UNIT_REPL_HELPERS_H_

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "repl/apply_delta.h"
#include "repl/create_delta.h"
#include "unit.h"

namespace ddsnap::unit {

using Bytes = std::vector<std::byte>;
using ddsnap::repl::ContentDevice;

// A file that is gone with the object.
class TempFile {
 public:
  explicit TempFile(const Bytes& content = {}) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/ddsnap-test-XXXXXX";
    Fd fd(::mkstemp(path_.data()));
    ck_assert(static_cast<bool>(fd));
    ck_assert_int_eq(::write(fd.get(), content.data(), content.size()),
                     static_cast<ssize_t>(content.size()));
  }
  ~TempFile() { (void)::unlink(path_.c_str()); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  void Resize(uint64_t size) const {
    ck_assert_int_eq(::truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }
  [[nodiscard]] Bytes Content() const {
    auto device = ContentDevice::OpenToRead(path_);
    CK_OK(device);
    Bytes out((*device)->size());
    CK_OK((*device)->Read(0, out));
    return out;
  }
  [[nodiscard]] std::unique_ptr<ContentDevice> Open(bool change) const {
    auto device = change ? ContentDevice::OpenToChange(path_) : ContentDevice::OpenToRead(path_);
    CK_OK(device);
    return std::move(*device);
  }

 private:
  std::string path_;
};

using Random = std::mt19937_64;

// Zeroes, text-like bytes, noise, or a variation of what was there.
inline void Scribble(Random& random, std::span<std::byte> out) {
  const unsigned kind = random() % 4;
  if (kind == 3) {
    for (int i = 0; i < 8 && !out.empty(); ++i) out[random() % out.size()] ^= std::byte{0x5a};
    return;
  }
  for (std::byte& b : out) {
    b = kind == 0 ? std::byte{0}
                  : static_cast<std::byte>(kind == 1 ? 'a' + random() % 4 : random() % 256);
  }
}

inline repl::StreamHead MakeHead(uint32_t chunk_size, uint64_t base, uint64_t target) {
  repl::StreamHead head;
  for (size_t i = 0; i < head.volume.size(); ++i) head.volume[i] = static_cast<uint8_t>(i + 1);
  head.chunk_size = chunk_size;
  head.base = {.epoch = 3, .tag = 0, .size = base, .created_ns = 1'000'000'000, .none = false};
  head.target = {.epoch = 5, .tag = 1, .size = target, .created_ns = 2'000'000'000, .none = false};
  head.made_ns = 3'000'000'000;
  return head;
}

inline Bytes MakeChangelist(const repl::StreamHead& head, const std::vector<ChunkRange>& ranges) {
  repl::MemorySink sink;
  repl::ChangelistWriter writer(sink, head);
  for (const ChunkRange& range : ranges) CK_OK(writer.Add(range));
  CK_OK(writer.Finish());
  return sink.bytes();
}

inline Bytes MakeDelta(const Bytes& changelist, const TempFile& from, const TempFile& to,
                       repl::Mode mode = repl::Mode::kRaw, int level = 0) {
  repl::MemorySource source(changelist);
  repl::MemorySink sink;
  repl::CreateOptions options;
  options.mode = mode;
  options.level = level;
  options.threads = 3;
  auto summary = repl::CreateDelta(source, from.Open(false).get(), *to.Open(false), sink, options);
  CK_OK(summary);
  return sink.bytes();
}

inline Result<repl::ApplySummary> Apply(std::span<const std::byte> delta, const TempFile& device,
                                        bool rewindable = true) {
  repl::MemorySource source(delta, rewindable);
  return repl::ApplyDelta(source, *device.Open(true), {.threads = 3, .progress = {}});
}

}  // namespace ddsnap::unit

#endif  // DDSNAP_TESTS_UNIT_REPL_HELPERS_H_
