// SPDX-License-Identifier: GPL-2.0
// The token bucket, by a clock that the test moves.
#include "repl/rate_limit.h"
#include "unit.h"

using namespace ddsnap;
using namespace ddsnap::repl;

namespace {

struct FakeTime {
  uint64_t now = 5'000'000'000;
  [[nodiscard]] RateClock Clock() {
    return {.now_ns = [this] { return now; }, .sleep_ns = [this](uint64_t ns) { now += ns; }};
  }
};

}  // namespace

START_TEST(bytes_leave_at_the_rate) {
  FakeTime time;
  MemorySink sink;
  LimitedSink limited(sink, 1 << 20, time.Clock());
  const uint64_t begun = time.now;
  CK_OK(limited.Write(std::vector<std::byte>(10 << 20, std::byte{1})));
  const double seconds = static_cast<double>(time.now - begun) / 1e9;
  ck_assert_uint_eq(sink.bytes().size(), 10 << 20);
  ck_assert_msg(seconds > 9.8 && seconds < 10.0, "%f", seconds);  // the bucket was full
}
END_TEST

START_TEST(a_pause_saves_up_a_tenth_of_a_second) {
  FakeTime time;
  TokenBucket bucket(1000, time.Clock());
  time.now += 3600'000'000'000;
  const uint64_t begun = time.now;
  for (int i = 0; i < 12; ++i) bucket.Take(100);
  ck_assert_uint_ge(time.now - begun, 990'000'000);
}
END_TEST

UNIT_MAIN("rate_limit", bytes_leave_at_the_rate, a_pause_saves_up_a_tenth_of_a_second)
