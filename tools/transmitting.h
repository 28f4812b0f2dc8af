// SPDX-License-Identifier: GPL-2.0
// One stream to a receiver that answers: what `ddsnap delta transmit` does over TCP, and
// `zumastor replicate` over ssh.  doc/delta-format.md, "Both directions".
#ifndef DDSNAP_TOOLS_TRANSMITTING_H_
#define DDSNAP_TOOLS_TRANSMITTING_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "delta_sender.h"
#include "progress.h"
#include "repl/byte_stream.h"
#include "repl/reply_stream.h"

namespace ddsnap {

// A sink that counts, and remembers whether it was to blame.
class LinkSink : public repl::ByteSink {
 public:
  // `answers`: the other direction, for LimitReads and Cut alone.
  LinkSink(Fd fd, Fd answers, std::string name)
      : fd_(std::move(fd)), answers_(std::move(answers)), name_(std::move(name)) {}
  [[nodiscard]] Status Write(std::span<const std::byte> data) override;
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] uint64_t written() const { return written_; }  // bytes
  // The reader sees the end.
  void Finish();
  // It is standard output, which sshd takes for ended when standard error is so too: Finish ends
  // both.
  void EndWithStandardError() { standard_ = true; }
  // How long a reader of the answers waits, in seconds; 0: for ever.  Of sockets alone.
  void LimitReads(unsigned seconds);
  // Whoever writes, or reads answers, gets an error or the end.  Of sockets alone.
  void Cut();

 private:
  Fd fd_;
  Fd answers_;
  std::mutex ending_;  // Cut comes from the thread that reads the answers
  std::string name_;
  bool standard_ = false;
  bool broken_ = false;
  uint64_t written_ = 0;
};

// Two directions: a socket, two sockets, or two pipes.
struct Connection {
  Connection(Fd in, Fd out, const std::string& name);
  // Both ends of a connected socket.  Its name is for messages.
  static Connection OfSocket(Fd socket, const std::string& name);
  // Our standard input and output, which nobody else uses from now on.
  static Connection OfStandardStreams(const std::string& name);

  repl::FileSource source;
  LinkSink sink;
};

struct Round {
  bool done = false;
  uint64_t acknowledged = 0;  // position below which the receiver has it
  Error error;                // unless done
  bool again = false;         // the link failed, not the sender or the receiver
};

// Sends one stream to a receiver whose status has been read from `replies`; below `limit` without
// differences.  Returns with its last word, or when the connection has ended.
[[nodiscard]] Round SendOver(Connection& connection, repl::ReplyReader& replies,
                             DeltaSender& sender, uint64_t begin, uint64_t limit,
                             ProgressLine& line);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_TRANSMITTING_H_
