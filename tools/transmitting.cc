// SPDX-License-Identifier: GPL-2.0
#include "transmitting.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <thread>

namespace ddsnap {
namespace {

// What the other side says while we send.
struct Answers {
  uint64_t acknowledged = 0;
  bool done = false;
  std::optional<Error> failed;
};

// Runs on a thread of its own, until the last word or the end of the connection.
void Listen(repl::ReplyReader& replies, LinkSink& sink, Answers& answers) {
  for (;;) {
    auto reply = replies.Next();
    if (!reply) {
      // Whoever is writing has no reader any more, or one who does not make sense.
      sink.Cut();
      return;
    }
    answers.acknowledged = std::max(answers.acknowledged, reply->position);
    if (reply->kind == repl::Reply::Kind::kDone) {
      answers.done = true;
      return;
    }
    if (reply->kind == repl::Reply::Kind::kFail) {
      answers.failed = std::move(reply->error);
      // Whoever is writing shall stop.
      sink.Cut();
      return;
    }
  }
}

// A descriptor of our own for one of the standard streams, which then leads nowhere.
Fd Take(int standard) {
  Fd taken(::fcntl(standard, F_DUPFD_CLOEXEC, 3));
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) (void)::dup2(null.get(), standard);
  return taken;
}

}  // namespace

Status LinkSink::Write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd_.get(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      broken_ = true;
      return FailErrno(errno, name_);
    }
    written_ += static_cast<uint64_t>(n);
    data = data.subspan(static_cast<size_t>(n));
  }
  return {};
}

void LinkSink::Finish() {
  const std::lock_guard hold(ending_);
  if (::shutdown(fd_.get(), SHUT_WR) != 0 && errno == ENOTSOCK) fd_.Reset();
  if (standard_) (void)Take(STDERR_FILENO);
}

void LinkSink::Cut() {
  const std::lock_guard hold(ending_);
  (void)::shutdown(fd_.get(), SHUT_RDWR);
  (void)::shutdown(answers_.get(), SHUT_RDWR);
}

void LinkSink::LimitReads(unsigned seconds) {
  const timeval limit{.tv_sec = seconds, .tv_usec = 0};
  (void)::setsockopt(answers_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

Connection::Connection(Fd in, Fd out, const std::string& name)
    : source(Fd(::fcntl(in.get(), F_DUPFD_CLOEXEC, 3)), name),
      sink(std::move(out), std::move(in), name) {}

Connection Connection::OfSocket(Fd socket, const std::string& name) {
  Fd other(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 3));
  return {std::move(socket), std::move(other), name};
}

Connection Connection::OfStandardStreams(const std::string& name) {
  Fd in = Take(STDIN_FILENO);
  return {std::move(in), Take(STDOUT_FILENO), name};
}

Round SendOver(Connection& connection, repl::ReplyReader& replies, DeltaSender& sender,
               uint64_t begin, uint64_t limit, ProgressLine& line) {
  LinkSink& sink = connection.sink;
  Answers answers;
  std::thread listener([&] { Listen(replies, sink, answers); });
  auto summary = sender.Send(sink, begin, limit, line);
  // A sender that failed by itself must not wait for an answer.
  if (!summary && !sink.broken()) sink.Cut();
  sink.Finish();
  listener.join();
  if (answers.done) return {.done = true, .acknowledged = answers.acknowledged, .error = {}};
  Round round{.done = false, .acknowledged = answers.acknowledged, .error = {}};
  if (!summary && !sink.broken()) {
    round.error = summary.error();
    return round;
  }
  if (answers.failed) {
    // A stream that was damaged on its way is sent again; one that has arrived by another
    // connection meanwhile is seen by the next status.
    round.error = {answers.failed->code, sink.name() + ": " + answers.failed->text};
    round.again = answers.failed->code == EBADMSG || answers.failed->code == EALREADY;
    return round;
  }
  round.error = summary ? Error{ECONNRESET, sink.name() + ": connection was cut"} : summary.error();
  round.again = true;
  return round;
}

}  // namespace ddsnap
