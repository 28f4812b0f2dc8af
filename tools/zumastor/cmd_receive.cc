// SPDX-License-Identifier: GPL-2.0
// zumastor receive NAME [--restrict | --abort]
// zumastor send NAME --to PEER [--no-snapshot] [--restrict]
//
// The two ends of a connection that the other side has made, by ssh: the stream goes through
// standard input and output.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <sstream>

#include "cli/options.h"
#include "commands.h"
#include "going_back.h"
#include "receiving.h"
#include "replicating.h"
#include "report.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  std::string peer;
  bool no_snapshot = false;
  bool restricted = false;
  bool abort = false;
};

// The words that the other side wanted to run; none where sshd has not been told a command.
std::vector<std::string> Wanted() {
  const char* command = ::secure_getenv("SSH_ORIGINAL_COMMAND");
  std::istringstream in(command != nullptr ? command : "");
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

Status Refuse(const std::string& may) { return Fail(EPERM, "this key may do nothing but: " + may); }

// A forced command of authorized_keys(5): what else the other side asks for is refused.
Status CheckReceive(const Options& options) {
  if (!options.restricted) return {};
  const auto wanted = Wanted();
  const std::vector<std::string> may = {"zumastor", "receive", options.name};
  if (wanted.empty() || wanted == may) return {};
  return Refuse("zumastor receive " + options.name);
}

// With it come the other side's wish and, unless the forced command says it, its name.
Status TakeSend(Options* options) {
  if (!options->restricted) return {};
  auto wanted = Wanted();
  if (wanted.empty()) return {};
  if (wanted.back() == "--no-snapshot") {
    options->no_snapshot = true;
    wanted.pop_back();
  }
  const bool good = wanted.size() == 5 && wanted[0] == "zumastor" && wanted[1] == "send" &&
                    wanted[2] == options->name && wanted[3] == "--to";
  if (!good) return Refuse("zumastor send " + options->name + " --to PEER");
  if (options->peer.empty()) options->peer = wanted[4];
  return {};
}

Status CheckPipe() {
  if (::isatty(STDIN_FILENO) == 0 && ::isatty(STDOUT_FILENO) == 0) return {};
  return Fail(EINVAL, "standard input and output: are a terminal; the other side runs this by ssh");
}

Result<int> Receive(const Options& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  if (options.abort) {
    if (Status s = GoBack(options.name); !s) return Pass(s);
    return 0;
  }
  if (Status s = CheckReceive(options); !s) return Pass(s);
  if (Status s = CheckPipe(); !s) return Pass(s);
  Connection connection = Connection::OfStandardStreams("the sender");
  ProgressLine line(/*json=*/false, ProgressFileOf(options.name, ""));
  auto received = ReceiveInto(options.name, connection, line);
  if (received) return 0;
  RememberRefusal(options.name, received.error());
  return Pass(received);
}

Status SendOne(const Options& options) {
  // Known from now on: a snapshot that is made to be sent is kept for somebody.
  if (Status s = UpdatePeer(options.name, options.peer, [](PeerRecord&) {}); !s) return s;
  if (!options.no_snapshot)
    if (Status s = MakeFreshSnapshot(options.name); !s) return s;
  Connection connection = Connection::OfStandardStreams(options.peer);
  connection.sink.EndWithStandardError();
  ProgressLine line(/*json=*/false, ProgressFileOf(options.name, options.peer));
  auto more = SendNext({.volume = options.name, .target = options.peer}, connection, line);
  if (!more) return Pass(more);
  if (*more) return {};
  return UpdatePeer(options.name, options.peer, [](PeerRecord& peer) {
    peer.last_try = peer.last_success = ::time(nullptr);
    peer.error.clear();
  });
}

Result<int> Send(Options options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  if (Status s = TakeSend(&options); !s) return Pass(s);
  auto peer = ParseRemote(options.peer);
  if (!peer) return Pass(peer);
  if (Status s = CheckPipe(); !s) return Pass(s);
  auto config = ConfigFolder::Default().Load(options.name);
  if (!config) return Pass(config);
  if (std::ranges::find(config->targets, options.peer, &TargetConfig::name) !=
      config->targets.end())
    return Fail(EEXIST, options.name + ": " + options.peer + ": is a target, which is sent to");
  auto lock = CommandLock::OfFetchingTarget(options.name, options.peer);
  if (!lock) return Pass(lock);
  if (Status s = SendOne(options); !s) {
    (void)UpdatePeer(options.name, options.peer, [&s](PeerRecord& record) {
      record.last_try = ::time(nullptr);
      record.error = s.error().text;
    });
    return Pass(s);
  }
  return 0;
}

Action DeclareReceive(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the replica").Required();
  Argument restricted =
      args.AddFlag("--restrict", &options->restricted,
                   "as a forced command of authorized_keys(5): whatever the other side asks for");
  args.AddFlag("--abort", &options->abort,
               "bring it back to what it was before a stream that was cut off")
      .Excludes(restricted);
  return [options] { return Receive(*options); };
}

Action DeclareSend(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("--to", &options->peer, "HOST:VOLUME that fetches it, for the records").TypeName("PEER");
  args.AddFlag("--no-snapshot", &options->no_snapshot, "send what there is");
  args.AddFlag("--restrict", &options->restricted,
               "as a forced command of authorized_keys(5): whatever the other side asks for");
  return [options] { return Send(*options); };
}

}  // namespace

const Command kReceive = {"receive", {}, "the other side of replicate: run by ssh", DeclareReceive};
const Command kSend = {
    "send", {}, "the other side of a replica that fetches: run by ssh", DeclareSend};

}  // namespace ddsnap
