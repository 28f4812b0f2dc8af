// SPDX-License-Identifier: GPL-2.0
// ddsnap delta receive DEVICE < STREAM
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "commands.h"
#include "control_verb.h"
#include "delta_receiver.h"

namespace ddsnap {
namespace {

using nlohmann::json;

struct Options {
  ReceiverOptions receiver;
  bool status = false;
  bool forget = false;
  bool resume = false;
};

json Number(const repl::SnapshotId& id) {
  if (id.none) return nullptr;
  return {{"tag", id.tag == repl::kOriginTag ? json(-1) : json(id.tag)}, {"epoch", id.epoch}};
}

Result<int> PrintStatus(repl::FileReceiveLog& log, const Options& options) {
  auto state = log.Load();
  if (!state) return Pass(state);
  const repl::ReceiveState known = state->value_or(repl::ReceiveState());
  const char* status = !*state ? "none" : known.complete ? "complete" : "partial";
  json out = {{"status", status}, {"state_file", log.path()}};
  if (*state) {
    out["volume_uuid"] = FormatUuid(known.what.volume);
    out["base"] = Number(known.what.base);
    out["target"] = Number(known.what.target);
    out["position"] = known.position;
    out["size"] = known.what.target.size;
    if (known.before) out["before"] = known.before->tag;
    if (!known.complete) out["token"] = FormatToken(TokenOf(known));
  }
  if (options.receiver.json) {
    PrintJson(out);
  } else if (!*state) {
    std::printf("%s: nothing was received\n", options.receiver.device.c_str());
  } else if (known.complete) {
    std::printf("%s: holds %s of volume %s\n", options.receiver.device.c_str(),
                repl::Describe(known.what.target).c_str(), FormatUuid(known.what.volume).c_str());
  } else {
    std::printf("%s\n", FormatToken(TokenOf(known)).c_str());
  }
  return 0;
}

Result<int> ReceiveStream(DeltaReceiver& receiver, const Options& options) {
  if (::isatty(STDIN_FILENO) == 1) {
    return Fail(EINVAL, "standard input: is a terminal; the stream comes from a file or a pipe");
  }
  if (options.resume) {
    auto state = receiver.log().Load();
    if (!state) return Pass(state);
    if (!*state || (*state)->complete) {
      return Fail(EINVAL, options.receiver.device + ": nothing to resume");
    }
  }
  if (Status s = receiver.Open(); !s) return Pass(s);
  auto source = repl::FileSource::Open("-");
  if (!source) return Pass(source);
  ProgressLine line(options.receiver.json);
  auto summary = receiver.Receive(**source, line);
  line.Clear();
  if (!summary) return Pass(summary);
  if (options.receiver.json) {
    PrintJson({{"volume_uuid", FormatUuid(summary->head.common.volume)},
               {"target", Number(summary->head.common.target)},
               {"extents", summary->extents},
               {"bytes", summary->bytes},
               {"already", summary->already},
               {"resumed", summary->resumed}});
  } else {
    std::printf("%s: now as %s: %s in %llu extents\n", options.receiver.device.c_str(),
                repl::Describe(summary->head.common.target).c_str(),
                FormatSize(summary->bytes).c_str(),
                static_cast<unsigned long long>(summary->extents));
  }
  return 0;
}

Result<int> Run(const Options& options) {
  auto receiver = DeltaReceiver::Find(options.receiver);
  if (!receiver) return Pass(receiver);
  if (options.status) return PrintStatus(receiver->log(), options);
  if (!options.forget) return ReceiveStream(*receiver, options);
  if (Status s = receiver->log().Forget(); !s) return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  Argument status = args.AddFlag("--status", &options->status,
                                 "print how far it is: a token for ddsnap delta send --resume");
  Argument forget = args.AddFlag("--forget", &options->forget,
                                 "forget what was received: the device was brought back, or is "
                                 "used for something else");
  args.AddFlag("--resume", &options->resume, "go on with what was cut off, and with nothing else")
      .Excludes(status)
      .Excludes(forget);
  status.Excludes(forget);
  AddReceiverOptions(args, &options->receiver);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaReceive = {
    "delta receive", {}, "make a device what the stream on standard input says", Declare};

}  // namespace ddsnap
