// SPDX-License-Identifier: GPL-2.0
// zumastor resize NAME [--origin SIZE|max] [--store SIZE|max] [--meta SIZE|max]
#include <cerrno>
#include <cstdio>
#include <memory>

#include "../control_verb.h"
#include "../progress.h"
#include "../resizing.h"
#include "cli/options.h"
#include "commands.h"
#include "live_volume.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  ResizeRequest request;
  bool json = false;
};

Result<int> Run(const Options& options) {
  ResizeRequest request = options.request;
  if (!request.origin && !request.store && !request.meta) {
    std::fputs("zumastor: resize: what? --origin, --store or --meta\n", stderr);
    return 2;
  }
  auto volume = LiveVolume::Open(options.name);
  if (!volume) return Pass(volume);
  if (Status s = volume->RequireUp(); !s) return Pass(s);
  ProgressLine line;
  request.socket = ServerSocket(options.name);
  request.own = OriginDmName(options.name) + "@resize";
  request.progress = [&line](uint64_t done, uint64_t total) {
    line.Show("copying the origin's end", done, total);
  };
  auto answer = ResizeVolume(request);
  line.Clear();
  if (!answer) return Fail(answer.error().code, options.name + ": " + answer.error().text);
  if (options.json) {
    PrintJson(*answer);
    return 0;
  }
  auto origin = Field<uint64_t>(*answer, "origin_size");
  auto store = Field<uint64_t>(*answer, "store_size");
  if (!origin || !store) return Fail(EPROTO, "server's answer is incomplete");
  std::printf("%s: origin %s, store %s\n", options.name.c_str(), FormatSize(*origin).c_str(),
              FormatSize(*store).c_str());
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  AddNewSize(args, "--origin", &options->request.origin, "of the origin");
  AddNewSize(args, "--store", &options->request.store, "of the snapshot store");
  AddNewSize(args, "--meta", &options->request.meta, "of the metadata device");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kResize = {
    "resize", {}, "use devices that have grown, or are about to become smaller", Declare};

}  // namespace ddsnap
