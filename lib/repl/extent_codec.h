// SPDX-License-Identifier: GPL-2.0
// An extent's content to its payload and back.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_EXTENT_CODEC_H_
#define DDSNAP_REPL_EXTENT_CODEC_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "repl/delta_stream.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace ddsnap::repl {

enum class Mode : uint8_t {
  kRaw,   // contents; with a level, compressed where that is smaller
  kDiff,  // differences against the base where that is smaller than raw
  kBest,  // the smallest of all
};

class ExtentEncoder {
 public:
  // `level` 0: none with kRaw, zstd's default otherwise; else zstd's levels.
  ExtentEncoder(Mode mode, int level);
  ~ExtentEncoder();

  // Fills in kind and sums of `extent` (whose place and lengths are set) and
  // returns the payload: part of `target`, or of this object until its next
  // use.  Without `may_diff` the payload does not need the base.
  [[nodiscard]] Result<std::span<const std::byte>> Encode(Extent* extent,
                                                          std::span<const std::byte> base,
                                                          std::span<const std::byte> target,
                                                          bool may_diff = true);

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  // The compressed size, or 0 if that is not below `limit`.
  [[nodiscard]] size_t Compress(std::span<const std::byte> prefix,
                                std::span<const std::byte> target, size_t limit,
                                std::vector<std::byte>* out);

  Mode mode_;
  int level_;
  std::unique_ptr<ZSTD_CCtx_s, FreeContext> context_;  // made when needed
  std::vector<std::byte> plain_;
  std::vector<std::byte> diff_;
};

class ExtentDecoder {
 public:
  ExtentDecoder();
  ~ExtentDecoder();

  // Checks the payload's sum.
  [[nodiscard]] static bool PayloadIsGood(const Extent& extent,
                                          std::span<const std::byte> payload);

  // Makes the content, of extent.length bytes, from a good payload and checks
  // its sum.  `base` is the base's content (kDiff only), already checked.
  // Returns the content, part of `payload` or of `buffer` (kMaxExtent bytes);
  // EBADMSG and the reason alone otherwise.
  [[nodiscard]] Result<std::span<const std::byte>> Decode(const Extent& extent,
                                                          std::span<const std::byte> payload,
                                                          std::span<const std::byte> base,
                                                          std::span<std::byte> buffer);

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, FreeContext> context_;  // made when needed
};

// True if all bytes are zero.
[[nodiscard]] bool IsZero(std::span<const std::byte> data);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_EXTENT_CODEC_H_
