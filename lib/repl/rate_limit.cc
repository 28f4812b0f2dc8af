// SPDX-License-Identifier: GPL-2.0
#include "repl/rate_limit.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace ddsnap::repl {
namespace {

constexpr double kSecond = 1e9;   // in nanoseconds
constexpr double kSaved = 0.1;    // seconds of tokens that may be saved up
constexpr size_t kPiece = 16384;  // bytes that are let go at once

}  // namespace

RateClock RateClock::Real() {
  return {
      .now_ns =
          [] {
            return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                             std::chrono::steady_clock::now().time_since_epoch())
                                             .count());
          },
      .sleep_ns = [](uint64_t ns) { std::this_thread::sleep_for(std::chrono::nanoseconds(ns)); }};
}

TokenBucket::TokenBucket(uint64_t rate, RateClock clock)
    : rate_(static_cast<double>(rate)),
      most_(rate_ * kSaved),
      clock_(std::move(clock)),
      tokens_(most_),
      last_ns_(clock_.now_ns()) {}

void TokenBucket::Take(uint64_t bytes) {
  for (;;) {
    const uint64_t now = clock_.now_ns();
    tokens_ = std::min(most_, tokens_ + static_cast<double>(now - last_ns_) * rate_ / kSecond);
    last_ns_ = now;
    if (tokens_ >= 0) break;
    clock_.sleep_ns(static_cast<uint64_t>(-tokens_ / rate_ * kSecond) + 1);
  }
  tokens_ -= static_cast<double>(bytes);
}

Status LimitedSink::Write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto piece = data.first(std::min(data.size(), kPiece));
    bucket_.Take(piece.size());
    if (Status s = sink_.Write(piece); !s) return s;
    data = data.subspan(piece.size());
  }
  return {};
}

}  // namespace ddsnap::repl
