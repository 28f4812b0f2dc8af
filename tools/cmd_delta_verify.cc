// SPDX-License-Identifier: GPL-2.0
// ddsnap delta verify DELTA [BASE_DEV]
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "repl/apply_delta.h"

namespace ddsnap {
namespace {

struct Options {
  std::string delta;
  std::string device;
  bool json = false;
};

Result<int> Run(const Options& options) {
  auto source = repl::FileSource::Open(options.delta);
  if (!source) return Pass(source);
  std::unique_ptr<repl::ContentDevice> device;
  if (!options.device.empty()) {
    auto opened = repl::ContentDevice::OpenToRead(options.device);
    if (!opened) return Pass(opened);
    device = std::move(*opened);
  }
  ProgressLine line(options.json);
  repl::ApplyOptions verify;
  verify.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  auto summary = repl::VerifyDelta(**source, device.get(), verify);
  line.Clear();
  if (!summary) return Pass(summary);
  const repl::StreamHead& head = summary->head.common;
  if (options.json) {
    nlohmann::json out = {{"volume_uuid", FormatUuid(head.volume)},
                          {"extents", summary->extents},
                          {"bytes", summary->bytes}};
    if (device) out["already"] = summary->already;
    PrintJson(out);
    return 0;
  }
  std::printf("%s: sound: %s to %s, %s in %llu extents\n", options.delta.c_str(),
              repl::Describe(head.base).c_str(), repl::Describe(head.target).c_str(),
              FormatSize(summary->bytes).c_str(),
              static_cast<unsigned long long>(summary->extents));
  if (device && summary->already == summary->bytes && summary->bytes > 0) {
    std::printf("%s: holds the target\n", options.device.c_str());
  } else if (device) {
    std::printf("%s: holds the base%s\n", options.device.c_str(),
                summary->already > 0 ? ", and the target in places" : "");
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("DELTA", &options->delta, "delta file, or - for standard input").Required();
  args.Add("BASE_DEV", &options->device,
           "device that holds the base or the target: all its extents are compared");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaVerify = {
    "delta verify", {}, "check a delta, and a device that it is for, without writing", Declare};

}  // namespace ddsnap
