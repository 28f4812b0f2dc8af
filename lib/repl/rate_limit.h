// SPDX-License-Identifier: GPL-2.0
// A bound on how fast bytes leave: a token bucket in front of a sink.
//
// Thread rule: one thread.
#ifndef DDSNAP_REPL_RATE_LIMIT_H_
#define DDSNAP_REPL_RATE_LIMIT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "repl/byte_stream.h"

namespace ddsnap::repl {

// Where time comes from and how it is waited for: the machine's, or a test's.
struct RateClock {
  std::function<uint64_t()> now_ns;  // monotonic
  std::function<void(uint64_t)> sleep_ns;
  [[nodiscard]] static RateClock Real();
};

// Tokens are bytes.  They come at `rate` a second; at most a tenth of a second's
// are saved up, so that a pause is not followed by a burst.
class TokenBucket {
 public:
  TokenBucket(uint64_t rate, RateClock clock);  // rate > 0
  // Waits until `bytes` may go.  More than the bucket holds may go into debt,
  // which the next call waits for.
  void Take(uint64_t bytes);

 private:
  const double rate_;
  const double most_;
  RateClock clock_;
  double tokens_;
  uint64_t last_ns_;
};

class LimitedSink : public ByteSink {
 public:
  LimitedSink(ByteSink& sink, uint64_t rate, RateClock clock = RateClock::Real())
      : sink_(sink), bucket_(rate, std::move(clock)) {}
  [[nodiscard]] Status Write(std::span<const std::byte> data) override;
  [[nodiscard]] const std::string& name() const override { return sink_.name(); }

 private:
  ByteSink& sink_;
  TokenBucket bucket_;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RATE_LIMIT_H_
