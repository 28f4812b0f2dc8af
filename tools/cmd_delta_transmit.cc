// SPDX-License-Identifier: GPL-2.0
// ddsnap delta transmit [-r|-x|-b] [-z LEVEL] [--from TAG] HOST:PORT SOCK TAG
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>

#include "commands.h"
#include "control_verb.h"
#include "delta_sender.h"
#include "io/tcp_socket.h"
#include "repl/reply_stream.h"
#include "transmitting.h"

namespace ddsnap {
namespace {

struct Options {
  SendOptions send;
  std::string peer;
  unsigned timeout = 30;
  unsigned retries = 10;
};

Round Arrived(uint64_t position) { return {true, position, {}, false}; }
Round Broken(Error error) { return {false, 0, std::move(error), true}; }
Round Failed(Error error) { return {false, 0, std::move(error), false}; }

// One connection, from the receiver's STAT to its last word.  `ours`: what the receiver has got is
// of this sender, and no other.
Round Transmit(DeltaSender& sender, const HostPort& peer, const Options& options, bool* ours,
               ProgressLine& line) {
  auto connection = ConnectTcp(peer.host, peer.port, options.timeout);
  if (!connection) return Broken(connection.error());
  Connection link = Connection::OfSocket(std::move(*connection), options.peer);
  repl::ReplyReader replies(link.source);
  auto status = replies.Next();
  if (!status) return Broken(status.error());
  if (status->kind == repl::Reply::Kind::kFail) return Failed(status->error);
  uint64_t position = 0, limit = 0;
  if (const auto& state = status->state; state && SameJourney(state->what, sender.head())) {
    // The answer to an earlier connection was lost: all is there.
    if (state->complete) return Arrived(state->position);
    position = state->position;
    limit = state->limit;
  }
  auto begin = *ours ? position : sender.WhereToGoOn(position);
  if (!begin) return Failed(begin.error());
  if (*begin != position)
    std::fprintf(stderr, "ddsnap: %s: the base was written to: all is sent again\n",
                 options.peer.c_str());
  Round round = SendOver(link, replies, sender, *begin, limit, line);
  // Before the first acknowledgement it may still be at the old position.
  *ours = *ours || position == 0 || round.acknowledged != 0;
  return round;
}

Result<int> Run(const Options& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto peer = ParseHostPort(options.peer);
  if (!peer) return Pass(peer);
  if (!options.send.resume.empty())
    return Fail(EINVAL, "--resume: the receiver says where to go on");
  auto sender = DeltaSender::Prepare(options.send);
  if (!sender) return Pass(sender);
  if (!sender->warning().empty()) std::fprintf(stderr, "ddsnap: %s\n", sender->warning().c_str());
  ProgressLine line(options.send.json);
  uint64_t acknowledged = 0;
  bool ours = false;
  for (unsigned failures = 0;;) {
    Round round = Transmit(*sender, *peer, options, &ours, line);
    line.Clear();
    if (round.done) {
      if (options.send.json) PrintJson({{"position", round.acknowledged}});
      return 0;
    }
    // As long as it gets further, it may go on.
    if (round.acknowledged > acknowledged) failures = 0;
    acknowledged = std::max(acknowledged, round.acknowledged);
    if (!round.again || failures++ >= options.retries) return std::unexpected(round.error);
    std::fprintf(stderr, "ddsnap: %s: trying again\n", round.error.text.c_str());
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("--timeout", &options->timeout, "seconds after which a silent receiver is gone")
      .InRange(3, 3600)
      .ShowDefault();
  args.Add("--retries", &options->retries, "how often a connection is made again in vain")
      .InRange(0, 1000000)
      .ShowDefault();
  args.Add("HOST:PORT", &options->peer, "where ddsnap delta listen runs").Required();
  AddSendOptions(args, &options->send);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaTransmit = {
    "delta transmit", {}, "send a stream to ddsnap delta listen", Declare};

}  // namespace ddsnap
