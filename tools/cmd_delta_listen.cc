// SPDX-License-Identifier: GPL-2.0
// ddsnap delta listen [--bind ADDR] PORT DEVICE
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "delta_receiver.h"
#include "io/tcp_socket.h"
#include "repl/reply_stream.h"

namespace ddsnap {
namespace {

struct Options {
  ReceiverOptions receiver;
  std::string bind = "127.0.0.1";
  std::string port;
  unsigned timeout = 30;
};

// Closing with unread input would reset the connection, and our last word with it.
void LetRead(int fd) {
  (void)::shutdown(fd, SHUT_WR);
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::byte waste[65536];
  for (int i = 0; i < 4096 && ::read(fd, waste, sizeof waste) > 0; ++i) {
  }
}

// One connection.  The result of the receive; EBADMSG if the link was cut.
Status Serve(DeltaReceiver& receiver, Fd connection, ProgressLine& line) {
  const int fd = connection.get();
  repl::FdSink sink(Fd(::dup(fd)), "connection");
  repl::ReplyWriter replies(sink);
  auto state = receiver.log().Load();
  if (!state) {
    (void)replies.PutFail(state.error());
    LetRead(fd);
    return Pass(state);
  }
  if (Status s = replies.PutStatus(*state); !s) return s;
  repl::FileSource stream(std::move(connection), "connection");
  // Who does not hear us any more may still be read from: an answer that is lost is
  // made good by the next connection's STAT.
  auto summary = receiver.Receive(stream, line, [&replies](uint64_t position) -> Status {
    (void)replies.PutAck(position);
    return {};
  });
  if (summary) {
    (void)replies.PutDone(summary->head.common.target.size);
  } else {
    (void)replies.PutFail(summary.error());
  }
  LetRead(fd);
  if (!summary) return Pass(summary);
  return {};
}

Result<int> Run(const Options& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto receiver = DeltaReceiver::Find(options.receiver);
  if (!receiver) return Pass(receiver);
  if (Status s = receiver->Open(); !s) return Pass(s);
  auto listener = ListenTcp(options.bind, options.port);
  if (!listener) return Pass(listener);
  auto port = PortOf(listener->get());
  if (!port) return Pass(port);
  std::printf("listening on %s, port %u\n", options.bind.c_str(), *port);
  std::fflush(stdout);
  ProgressLine line(options.receiver.json);
  for (;;) {
    auto connection = AcceptTcp(listener->get(), options.timeout);
    if (!connection) return Pass(connection);
    Status s = Serve(*receiver, std::move(*connection), line);
    line.Clear();
    if (s) return 0;
    // The device, or its server, does not get better by another try.
    if (s.error().code != EBADMSG && s.error().code != ECONNRESET && s.error().code != ETIMEDOUT &&
        s.error().code != EPIPE && s.error().code != EHOSTUNREACH) {
      return Pass(s);
    }
    std::fprintf(stderr, "ddsnap: %s: waiting for the sender to come back\n",
                 s.error().text.c_str());
  }
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("--bind", &options->bind,
           "local address; the stream is neither encrypted nor authenticated")
      .TypeName("ADDR")
      .ShowDefault();
  args.Add("--timeout", &options->timeout, "seconds after which a silent sender is gone")
      .InRange(3, 3600)
      .ShowDefault();
  args.Add("PORT", &options->port, "TCP port; 0: one that is free").Required().InRange(0, 65535);
  AddReceiverOptions(args, &options->receiver);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaListen = {
    "delta listen", {}, "receive one stream over TCP, in a network that is trusted", Declare};

}  // namespace ddsnap
