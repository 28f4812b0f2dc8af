// SPDX-License-Identifier: GPL-2.0
// Bringing an origin back to a snapshot's content.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "io/unix_socket.h"
#include "lib/temp_folder.h"
#include "repl/revert.h"
#include "repl_helpers.h"
#include "reverting.h"
#include "wire/frame.h"
#include "wire/messages.h"

using namespace ddsnap;
using namespace ddsnap::unit;

namespace {

constexpr uint64_t kChunk = 4096;

Bytes Noise(Random& random, uint64_t size) {
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() % 256);
  return bytes;
}

Result<repl::RevertSummary> RevertFiles(const TempFile& snapshot, const TempFile& origin,
                                        const std::vector<ChunkRange>& ranges, uint64_t size) {
  repl::RevertOptions options;
  options.chunk_size = kChunk;
  options.size = size;
  options.threads = 3;
  return repl::Revert(*snapshot.Open(false), *origin.Open(true), ranges, options);
}

// A server as far as `end` goes: hears one request for each answer, which it gives or, where it is
// empty, loses with the connection.
void Answer(const Fd& listener, const std::vector<std::string>& answers) {
  for (const std::string& answer : answers) {
    const Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char request[1000];
    if (!peer || ::recv(peer.get(), request, sizeof request, 0) <= 0) ::_exit(2);
    if (answer.empty()) continue;
    wire::FrameWriter out;
    out.Put(wire::kControlReply, 0, std::as_bytes(std::span(answer)));
    if (!out.WriteTo(peer.get())) ::_exit(3);
  }
  ::_exit(0);
}

Status EndWith(const std::vector<std::string>& answers) {
  test::TempFolder folder;
  const std::string socket = folder / "server";
  const Fd listener = *ListenUnix(socket);
  ck_assert_int_eq(::fcntl(listener.get(), F_SETFL, 0), 0);
  const pid_t server = ::fork();
  if (server == 0) Answer(listener, answers);
  const Status s = EndRevert(socket, 3);
  int code = -1;
  ck_assert_int_eq(::waitpid(server, &code, 0), server);
  ck_assert_int_eq(code, 0);
  return s;
}

}  // namespace

// An answer that is lost leaves open whether the server has heard it.
START_TEST(an_end_whose_answer_is_lost_is_one) {
  const std::string no =
      R"({"error": 2, "text": "snapshot 3: no revert to it is under way any more"})";
  const std::string full = R"({"error": 28, "text": "no space"})";
  CK_OK(EndWith({"{}"}));
  CK_OK(EndWith({"", "{}"}));
  CK_OK(EndWith({"", no}));
  CK_OK(EndWith({"", "", no}));
  Status s = EndWith({no});
  ck_assert(!s && s.error().code == ENOENT);
  s = EndWith({"", full});
  ck_assert(!s && s.error().code == ENOSPC);
}
END_TEST

START_TEST(the_snapshot_is_held_like_the_origin) {
  TempFile snapshot{Bytes(kChunk)};
  auto held = repl::ContentDevice::OpenToReadAlone(snapshot.path());
  CK_OK(held);
  for (const auto& other : {repl::ContentDevice::OpenToReadAlone(snapshot.path()),
                            repl::ContentDevice::OpenToChange(snapshot.path())}) {
    ck_assert(!other);
    ck_assert_int_eq(other.error().code, EBUSY);
  }
  CK_OK(repl::ContentDevice::OpenToRead(snapshot.path()));
}
END_TEST

START_TEST(what_differs_is_written) {
  Random random(1);
  const Bytes want = Noise(random, 700 * kChunk);
  Bytes have = want;
  std::vector<ChunkRange> ranges;
  uint64_t changed = 0;
  for (uint64_t chunk = 0; chunk < 700;) {
    const ChunkRange range{chunk, std::min<uint64_t>(1 + random() % 300, 700 - chunk)};
    ranges.push_back(range);
    for (uint64_t i = range.chunk; i < range.chunk + range.count; ++i) {
      if (random() % 3 == 0) continue;
      have[i * kChunk + random() % kChunk] ^= std::byte{1};
      ++changed;
    }
    chunk += range.count + 1;
  }
  TempFile snapshot(want), origin(have);
  auto sum = RevertFiles(snapshot, origin, ranges, want.size());
  CK_OK(sum);
  ck_assert_uint_eq(sum->written, changed * kChunk);
  ck_assert(origin.Content() == want);
  sum = RevertFiles(snapshot, origin, ranges, want.size());  // again: nothing to do
  CK_OK(sum);
  ck_assert_uint_eq(sum->written, 0);
}
END_TEST

START_TEST(what_is_not_named_stays) {
  Random random(2);
  const Bytes want = Noise(random, 20 * kChunk);
  const Bytes have = Noise(random, 20 * kChunk);
  TempFile snapshot(want), origin(have);
  CK_OK(RevertFiles(snapshot, origin, {{3, 2}, {19, 1}}, want.size()));
  Bytes mixed = have;
  std::copy_n(want.begin() + 3 * kChunk, 2 * kChunk, mixed.begin() + 3 * kChunk);
  std::copy_n(want.begin() + 19 * kChunk, kChunk, mixed.begin() + 19 * kChunk);
  ck_assert(origin.Content() == mixed);
}
END_TEST

// The origin has grown since: the snapshot's end need not be a chunk's.
START_TEST(what_is_past_the_end_stays) {
  Random random(3);
  const Bytes want = Noise(random, 5 * kChunk + 512);
  const Bytes have = Noise(random, 9 * kChunk);
  TempFile snapshot(want), origin(have);
  auto sum = RevertFiles(snapshot, origin, {{4, 1000}, {~uint64_t{0} - 7, 3}}, want.size());
  CK_OK(sum);
  ck_assert_uint_eq(sum->compared, kChunk + 512);
  Bytes mixed = have;
  std::copy(want.begin() + 4 * kChunk, want.end(), mixed.begin() + 4 * kChunk);
  ck_assert(origin.Content() == mixed);
}
END_TEST

START_TEST(a_smaller_origin_is_refused) {
  Random random(4);
  const Bytes have = Noise(random, 4 * kChunk);
  TempFile snapshot(Noise(random, 5 * kChunk)), origin(have);
  auto sum = RevertFiles(snapshot, origin, {{0, 5}}, 5 * kChunk);
  ck_assert(!sum);
  ck_assert_int_eq(sum.error().code, ENOSPC);
  ck_assert(origin.Content() == have);
}
END_TEST

// Cut anywhere, repeated: as if it had not been cut.
START_TEST(half_done_and_again) {
  Random random(5);
  const Bytes want = Noise(random, 600 * kChunk);
  const Bytes have = Noise(random, 600 * kChunk);
  for (int i = 0; i < 8; ++i) {
    Bytes half = have;  // any sector may have been written
    for (uint64_t at = 0; at < half.size(); at += 512)
      if (random() % 2 == 0)
        std::copy_n(want.begin() + static_cast<long>(at), 512,
                    half.begin() + static_cast<long>(at));
    TempFile snapshot(want), origin(half);
    CK_OK(RevertFiles(snapshot, origin, {{0, 600}}, want.size()));
    ck_assert(origin.Content() == want);
  }
}
END_TEST

UNIT_MAIN("revert", what_differs_is_written, what_is_not_named_stays, what_is_past_the_end_stays,
          a_smaller_origin_is_refused, half_done_and_again, the_snapshot_is_held_like_the_origin,
          an_end_whose_answer_is_lost_is_one)
