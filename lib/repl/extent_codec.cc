// SPDX-License-Identifier: GPL-2.0
#include "repl/extent_codec.h"

#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ddsnap::repl {
namespace {

// Base and content of an extent fit this window (2 MiB).
constexpr int kWindowLog = 21;

}  // namespace

bool IsZero(std::span<const std::byte> data) {
  // Comparing the data with itself one byte further: memcmp is as fast as it gets.
  return data.empty() || (data[0] == std::byte{0} &&
                          std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

void ExtentEncoder::FreeContext::operator()(ZSTD_CCtx_s* context) const {
  (void)ZSTD_freeCCtx(context);
}

ExtentEncoder::ExtentEncoder(Mode mode, int level) : mode_(mode), level_(level) {}
ExtentEncoder::~ExtentEncoder() = default;

size_t ExtentEncoder::Compress(std::span<const std::byte> prefix, std::span<const std::byte> target,
                               size_t limit, std::vector<std::byte>* out) {
  if (!context_) {
    context_.reset(ZSTD_createCCtx());
    if (!context_) return 0;
    (void)ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level_);
    (void)ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_windowLog, kWindowLog);
  }
  if (!prefix.empty()) (void)ZSTD_CCtx_refPrefix(context_.get(), prefix.data(), prefix.size());
  out->resize(ZSTD_compressBound(target.size()));
  const size_t n =
      ZSTD_compress2(context_.get(), out->data(), out->size(), target.data(), target.size());
  // An error here means no memory: the content then goes as it is.
  return ZSTD_isError(n) || n >= limit ? 0 : n;
}

Result<std::span<const std::byte>> ExtentEncoder::Encode(Extent* extent,
                                                         std::span<const std::byte> base,
                                                         std::span<const std::byte> target,
                                                         bool may_diff) {
  if (base.size() != extent->base_length || target.size() != extent->length) {
    return Fail(EINVAL, "extent: content of other length");
  }
  extent->base_sum = Checksum(base);
  extent->target_sum = Checksum(target);
  if (IsZero(target)) {
    extent->kind = Extent::Kind::kZero;
    extent->payload_sum = Checksum(std::span<const std::byte>());
    return std::span<const std::byte>();
  }
  std::span<const std::byte> payload = target;
  extent->kind = Extent::Kind::kRaw;
  const bool has_base = mode_ != Mode::kRaw && may_diff && !base.empty() && !IsZero(base);
  if (has_base) {
    if (const size_t n = Compress(base, target, payload.size(), &diff_); n > 0) {
      payload = std::span(diff_).first(n);
      extent->kind = Extent::Kind::kDiff;
    }
  }
  const bool plain = mode_ == Mode::kRaw ? level_ != 0 : mode_ == Mode::kBest || !has_base;
  if (plain) {
    if (const size_t n = Compress({}, target, payload.size(), &plain_); n > 0) {
      payload = std::span(plain_).first(n);
      extent->kind = Extent::Kind::kZstd;
    }
  }
  extent->payload_sum = extent->kind == Extent::Kind::kRaw ? extent->target_sum : Checksum(payload);
  return payload;
}

void ExtentDecoder::FreeContext::operator()(ZSTD_DCtx_s* context) const {
  (void)ZSTD_freeDCtx(context);
}

ExtentDecoder::ExtentDecoder() = default;
ExtentDecoder::~ExtentDecoder() = default;

bool ExtentDecoder::PayloadIsGood(const Extent& extent, std::span<const std::byte> payload) {
  return Checksum(payload) == extent.payload_sum;
}

Result<std::span<const std::byte>> ExtentDecoder::Decode(const Extent& extent,
                                                         std::span<const std::byte> payload,
                                                         std::span<const std::byte> base,
                                                         std::span<std::byte> buffer) {
  // A raw payload's sum is the target's: the reader has made sure of it.
  if (extent.kind == Extent::Kind::kRaw) return payload;
  if (buffer.size() < extent.length) return Fail(EINVAL, "extent: buffer too small");
  const std::span<std::byte> out = buffer.first(extent.length);
  if (extent.kind == Extent::Kind::kZero) {
    std::ranges::fill(out, std::byte{0});
  } else {
    if (!context_) context_.reset(ZSTD_createDCtx());
    if (!context_) return FailErrno(ENOMEM, "zstd");
    (void)ZSTD_DCtx_reset(context_.get(), ZSTD_reset_session_and_parameters);
    (void)ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowLog);
    if (extent.kind == Extent::Kind::kDiff) {
      (void)ZSTD_DCtx_refPrefix(context_.get(), base.data(), base.size());
    }
    const size_t n =
        ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), payload.data(), payload.size());
    if (ZSTD_isError(n)) {
      return Fail(EBADMSG, std::string("extent does not decompress: ") + ZSTD_getErrorName(n));
    }
    if (n != out.size()) return Fail(EBADMSG, "extent decompresses to another length");
  }
  if (Checksum(out) != extent.target_sum) {
    return Fail(EBADMSG, "content does not match its checksum");
  }
  return out;
}

}  // namespace ddsnap::repl
