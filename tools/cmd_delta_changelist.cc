// SPDX-License-Identifier: GPL-2.0
// ddsnap delta changelist SOCK FILE FROM TO
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "delta_options.h"
#include "server_volume.h"

namespace ddsnap {
namespace {

struct Options {
  std::string socket;
  std::string file;
  Tag from = 0;
  std::string to;
  bool print_json = false;
};

Result<int> Run(const Options& options) {
  Tag to = repl::kOriginTag;
  if (options.to != "-1") {
    auto tag = ParseTag(options.to);
    if (!tag) return Pass(tag);
    to = *tag;
  }
  auto client = ControlClient::Connect(options.socket);
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  auto base = volume->BaseWithTag(options.from);
  if (!base) return Pass(base);
  Result<repl::SnapshotId> target = volume->Origin();
  if (to != repl::kOriginTag) target = volume->WithTag(to);
  if (!target) return Pass(target);
  const repl::StreamHead head{volume->uuid, volume->chunk_size, *base, *target, NowNs()};
  auto sink = repl::FileSink::Create(options.file);
  if (!sink) return Pass(sink);
  auto counts = FetchChangelist(*client, head, **sink);
  if (!counts) return Pass(counts);
  if (Status s = (*sink)->Commit(); !s) return Pass(s);
  if (options.print_json) {
    PrintJson(
        {{"ranges", counts->ranges}, {"chunks", counts->chunks}, {"chunk_size", head.chunk_size}});
  } else if (options.file != "-") {
    std::printf("%s: %llu chunks of %s in %llu ranges\n", options.file.c_str(),
                static_cast<unsigned long long>(counts->chunks),
                FormatSize(head.chunk_size).c_str(),
                static_cast<unsigned long long>(counts->ranges));
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  args.Add("FILE", &options->file, "file to write, or - for standard output").Required();
  AddTag(args, "FROM", &options->from, "snapshot or bookmark that the other side has").Required();
  args.Add("TO", &options->to, "snapshot that it shall have; -1: the origin as it is now")
      .Required();
  AddJson(args, &options->print_json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaChangelist = {"delta changelist",
                                  {"create-cl"},
                                  "write which chunks two snapshots differ in to a file",
                                  Declare};

}  // namespace ddsnap
