// SPDX-License-Identifier: GPL-2.0
// ddsnap delta send [-r|-x|-b] [-z LEVEL] [--from TAG] SOCK TAG > STREAM
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "delta_sender.h"

namespace ddsnap {
namespace {

Result<int> Run(const SendOptions& options) {
  if (::isatty(STDOUT_FILENO) == 1) {
    return Fail(EINVAL, "standard output: is a terminal; the stream goes to a file or a pipe");
  }
  // The reader's end is an error with a reason, not a silent death.
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto sender = DeltaSender::Prepare(options);
  if (!sender) return Pass(sender);
  if (!sender->warning().empty()) std::fprintf(stderr, "ddsnap: %s\n", sender->warning().c_str());
  repl::FdSink direct(Fd(::dup(STDOUT_FILENO)), "standard output");
  auto buffered = repl::FileSink::Create("-");
  if (!buffered) return Pass(buffered);
  // A limited stream flows; one that is not goes in large pieces.
  repl::ByteSink& out = options.rate != 0 ? static_cast<repl::ByteSink&>(direct) : **buffered;
  ProgressLine line(options.json);
  auto summary = sender->Send(out, sender->begin(), sender->limit(), line);
  if (summary) {
    if (Status s = (*buffered)->Commit(); !s) summary = Pass(s);
  }
  line.Clear();
  if (!summary) return Pass(summary);
  if (options.json) {
    const nlohmann::json sent = {{"sent", repl::Describe(sender->head().target)},
                                 {"extents", summary->extents},
                                 {"bytes", summary->bytes},
                                 {"payload", summary->payload},
                                 {"unchanged", summary->unchanged}};
    std::fprintf(stderr, "%s\n", sent.dump().c_str());
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<SendOptions>();
  AddSendOptions(args, options.get());
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaSend = {"delta send",
                            {},
                            "write a snapshot, or what changed since another, to standard output",
                            Declare};

}  // namespace ddsnap
