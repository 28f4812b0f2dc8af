// SPDX-License-Identifier: GPL-2.0
// ddsnap delta create [-r|-x|-b] [-z LEVEL] CHANGELIST DELTA FROMDEV TODEV
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "delta_options.h"
#include "progress.h"
#include "repl/create_delta.h"

namespace ddsnap {
namespace {

struct Options {
  ModeOptions mode;
  std::string changelist;
  std::string delta;
  std::string from;
  std::string to;  // empty: `from` is a stem
  bool json = false;
};

// STEM<TAG> or STEM(TAG), whichever exists.
Result<std::string> FromStem(const std::string& stem, const repl::SnapshotId& id) {
  if (id.tag == repl::kOriginTag) return stem;
  const std::string tag = std::to_string(id.tag);
  for (const std::string& path : {stem + tag, stem + "(" + tag + ")"}) {
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return Fail(ENOENT, stem + tag + ": no such device, nor " + stem + "(" + tag + ")");
}

Status ResolveStem(Options& options) {
  if (!options.to.empty()) return {};
  auto source = repl::FileSource::Open(options.changelist);
  if (!source) return Pass(source);
  auto list = repl::ChangelistReader::Open(**source);
  if (!list) return Pass(list);
  const std::string stem = options.from;
  auto from = FromStem(stem, list->head().base);
  if (!from) return Pass(from);
  auto to = FromStem(stem, list->head().target);
  if (!to) return Pass(to);
  options.from = *from;
  options.to = *to;
  return {};
}

void Print(const Options& options, const repl::CreateSummary& summary) {
  if (options.json) {
    PrintJson({{"extents", summary.extents},
               {"bytes", summary.bytes},
               {"payload", summary.payload},
               {"unchanged", summary.unchanged}});
    return;
  }
  if (options.delta == "-") return;  // standard output is the delta
  std::printf("%s: %s of content in %llu extents, %s stored\n", options.delta.c_str(),
              FormatSize(summary.bytes).c_str(), static_cast<unsigned long long>(summary.extents),
              FormatSize(summary.payload).c_str());
}

Result<int> Run(Options options) {
  if (Status s = ResolveStem(options); !s) return Pass(s);
  auto source = repl::FileSource::Open(options.changelist);
  if (!source) return Pass(source);
  auto from = repl::ContentDevice::OpenToRead(options.from);
  if (!from) return Pass(from);
  auto to = repl::ContentDevice::OpenToRead(options.to);
  if (!to) return Pass(to);
  auto sink = repl::FileSink::Create(options.delta);
  if (!sink) return Pass(sink);

  ProgressLine line(options.json);
  repl::CreateOptions create = options.mode.ToCreate();
  create.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  auto summary = repl::CreateDelta(**source, from->get(), **to, **sink, create);
  if (summary) {
    if (Status s = (*sink)->Commit(); !s) summary = Pass(s);
  }
  line.Clear();
  if (!summary) return Pass(summary);
  Print(options, *summary);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  AddMode(args, &options->mode);
  args.Add("CHANGELIST", &options->changelist, "from ddsnap delta changelist").Required();
  args.Add("DELTA", &options->delta, "file to write, or - for standard output").Required();
  args.Add("FROMDEV", &options->from,
           "device of the first snapshot; or, alone, STEM of both devices' names: STEM<TAG> "
           "or STEM(TAG)")
      .Required();
  args.Add("TODEV", &options->to, "device of the second snapshot");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaCreate = {"delta create",
                              {"create-delta"},
                              "write what turns one snapshot into another to a file",
                              Declare};

}  // namespace ddsnap
