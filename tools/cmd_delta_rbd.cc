// SPDX-License-Identifier: GPL-2.0
// ddsnap delta export --format rbd DELTA [BASE_DEV] > FILE
// ddsnap delta import --format rbd FILE DELTA [BASE_DEV]
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "commands.h"
#include "control_verb.h"
#include "delta_options.h"
#include "repl/rbd_diff.h"

namespace ddsnap {
namespace {

struct Options {
  std::string format;
  std::string from;  // what is read
  std::string to;    // what is written
  std::string device;
  repl::RbdNames names;
  std::string volume;
  uint64_t chunk_size = 4096;
  ModeOptions mode;
  bool json = false;
};

void AddFormat(Arguments& args, Options* options) {
  args.Add("--format", &options->format, "the other format: rbd, Ceph's RBD diff of version 1")
      .OneOf({"rbd"})
      .Required();
}

Result<std::unique_ptr<repl::ContentDevice>> OpenBase(const std::string& path) {
  if (path.empty()) return std::unique_ptr<repl::ContentDevice>();
  return repl::ContentDevice::OpenToRead(path);
}

void Print(const repl::RbdSummary& summary, const Options& options) {
  if (options.json && options.to != "-") {
    PrintJson({{"extents", summary.extents}, {"bytes", summary.bytes}});
  }
}

Result<int> RunExport(const Options& options) {
  if (::isatty(STDOUT_FILENO) == 1) {
    return Fail(EINVAL, "standard output: is a terminal; the diff goes to a file or a pipe");
  }
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto source = repl::FileSource::Open(options.from);
  if (!source) return Pass(source);
  auto base = OpenBase(options.device);
  if (!base) return Pass(base);
  auto sink = repl::FileSink::Create("-");
  if (!sink) return Pass(sink);
  auto summary = ExportRbd(**source, base->get(), **sink, options.names);
  if (!summary) return Pass(summary);
  if (Status s = (*sink)->Commit(); !s) return Pass(s);
  return 0;
}

Result<int> RunImport(const Options& options) {
  repl::RbdImport import;
  import.chunk_size = static_cast<uint32_t>(options.chunk_size);
  if (!std::has_single_bit(options.chunk_size) || options.chunk_size < kMinChunkSize ||
      options.chunk_size > kMaxChunkSize) {
    return Fail(EINVAL, "chunk size: a power of two from 4K to 1M");
  }
  if (!options.volume.empty()) {
    auto volume = ParseUuid(options.volume);
    if (!volume) return Pass(volume);
    import.volume = *volume;
  }
  const repl::CreateOptions create = options.mode.ToCreate();
  import.mode = create.mode;
  import.level = create.level;
  import.now_ns = create.now_ns;
  auto source = repl::FileSource::Open(options.from);
  if (!source) return Pass(source);
  auto base = OpenBase(options.device);
  if (!base) return Pass(base);
  auto sink = repl::FileSink::Create(options.to);
  if (!sink) return Pass(sink);
  auto summary = ImportRbd(**source, base->get(), **sink, import);
  if (!summary) return Pass(summary);
  if (Status s = (*sink)->Commit(); !s) return Pass(s);
  Print(*summary, options);
  return 0;
}

Action DeclareExport(Arguments& args) {
  auto options = std::make_shared<Options>();
  AddFormat(args, options.get());
  args.Add("--from-snap", &options->names.from, "name of the base there").TypeName("NAME");
  args.Add("--to-snap", &options->names.to, "name of the target there").TypeName("NAME");
  args.Add("DELTA", &options->from, "delta file, or - for standard input").Required();
  args.Add("BASE_DEV", &options->device, "device that holds the base, for differences");
  return [options] { return RunExport(*options); };
}

Action DeclareImport(Arguments& args) {
  auto options = std::make_shared<Options>();
  AddFormat(args, options.get());
  AddMode(args, &options->mode);
  AddSize(args, "-c,--chunk-size", &options->chunk_size, "of the delta");
  args.Add("--volume", &options->volume, "UUID of the volume that the delta is of")
      .TypeName("UUID");
  args.Add("FILE", &options->from, "diff to read, or - for standard input").Required();
  args.Add("DELTA", &options->to, "file to write, or - for standard output").Required();
  args.Add("BASE_DEV", &options->device, "device that holds what the diff begins from");
  AddJson(args, &options->json);
  return [options] { return RunImport(*options); };
}

}  // namespace

const Command kDeltaExport = {
    "delta export", {}, "write a delta in another program's format", DeclareExport};
const Command kDeltaImport = {
    "delta import", {}, "make a delta of another program's format", DeclareImport};

}  // namespace ddsnap
