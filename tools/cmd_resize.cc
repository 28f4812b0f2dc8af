// SPDX-License-Identifier: GPL-2.0
// ddsnap resize SOCK [-o SIZE] [-s SIZE] [-m SIZE]
#include <cerrno>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "resizing.h"

namespace ddsnap {
namespace {

struct Options {
  ResizeRequest request;
  bool json = false;
};

Result<int> Run(const Options& options) {
  ResizeRequest request = options.request;
  if (!request.origin && !request.store && !request.meta) {
    std::fputs("ddsnap: resize: what? -o, -s or -m\n", stderr);
    return 2;
  }
  auto status = AskServer(request.socket, {{"verb", "status"}});
  if (!status) return Pass(status);
  auto uuid = Field<std::string>(*status, "volume_uuid");
  if (!uuid) return Pass(uuid);
  ProgressLine line;
  request.own = "ddsnap-resize-" + *uuid;
  request.progress = [&line](uint64_t done, uint64_t total) {
    line.Show("copying the origin's end", done, total);
  };
  auto answer = ResizeVolume(request);
  line.Clear();
  if (!answer) return Pass(answer);
  if (options.json) {
    PrintJson(*answer);
    return 0;
  }
  auto origin = Field<uint64_t>(*answer, "origin_size");
  auto store = Field<uint64_t>(*answer, "store_size");
  if (!origin || !store) return Fail(EPROTO, "server's answer is incomplete");
  std::printf("origin %s, store %s\n", FormatSize(*origin).c_str(), FormatSize(*store).c_str());
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->request.socket, "the server's socket").Required();
  AddNewSize(args, "-o,--origin", &options->request.origin, "of the origin");
  AddNewSize(args, "-s,--store", &options->request.store, "of the snapshot store");
  AddNewSize(args, "-m,--meta", &options->request.meta, "of the metadata device");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kResize = {
    "resize", {}, "use devices that have grown, or are about to become smaller", Declare};

}  // namespace ddsnap
