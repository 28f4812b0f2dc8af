// SPDX-License-Identifier: GPL-2.0
// ddsnap delta show DELTA|CHANGELIST
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "cli/output.h"
#include "commands.h"
#include "control_verb.h"
#include "repl/create_delta.h"
#include "repl/delta_stream.h"
#include "repl/extent_codec.h"

namespace ddsnap {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 4> kKinds = {"raw", "zero", "zstd", "diff"};

struct Options {
  std::string file;
  bool verbose = false;
  bool print_json = false;
};

std::string Time(int64_t ns) { return ns == 0 ? "" : FormatTime(ns / 1'000'000'000); }

json IdentityJson(const repl::SnapshotId& id) {
  if (id.none) return nullptr;
  json out = {{"tag", id.tag == repl::kOriginTag ? json(-1) : json(id.tag)},
              {"epoch", id.epoch},
              {"size", id.size}};
  if (id.created_ns != 0) out["created"] = Time(id.created_ns);
  return out;
}

json HeadJson(const char* kind, const repl::StreamHead& head) {
  return {{"kind", kind},
          {"version", repl::kVersion},
          {"volume_uuid", FormatUuid(head.volume)},
          {"chunk_size", head.chunk_size},
          {"base", IdentityJson(head.base)},
          {"target", IdentityJson(head.target)},
          {"made", Time(head.made_ns)}};
}

void PrintIdentity(const char* role, const repl::SnapshotId& id) {
  std::printf("%-12s %s, epoch %llu, %llu bytes%s%s\n", role, repl::Describe(id).c_str(),
              static_cast<unsigned long long>(id.epoch), static_cast<unsigned long long>(id.size),
              id.created_ns != 0 ? ", created " : "", Time(id.created_ns).c_str());
}

void PrintHead(const char* kind, const repl::StreamHead& head) {
  std::printf("%s of version %u\n", kind, repl::kVersion);
  std::printf("%-12s %s\n", "volume", FormatUuid(head.volume).c_str());
  std::printf("%-12s %s\n", "chunk size", FormatSize(head.chunk_size).c_str());
  PrintIdentity("base", head.base);
  PrintIdentity("target", head.target);
  std::printf("%-12s %s\n", "made", Time(head.made_ns).c_str());
}

Status ShowChangelist(repl::ByteSource& source, const Options& options) {
  auto list = repl::ChangelistReader::Open(source);
  if (!list) return Pass(list);
  json out = HeadJson("changelist", list->head());
  if (!options.print_json) PrintHead("changelist", list->head());
  for (;;) {
    auto range = list->Next();
    if (!range) return Pass(range);
    if (!*range) break;
    if (!options.verbose) continue;
    if (options.print_json) {
      out["list"].push_back({{"chunk", (*range)->chunk}, {"count", (*range)->count}});
    } else {
      std::printf("range        chunk %llu, %llu\n",
                  static_cast<unsigned long long>((*range)->chunk),
                  static_cast<unsigned long long>((*range)->count));
    }
  }
  out["ranges"] = list->ranges();
  out["chunks"] = list->chunks();
  if (options.print_json) {
    PrintJson(out);
  } else {
    std::printf("%-12s %llu chunks in %llu ranges\n", "content",
                static_cast<unsigned long long>(list->chunks()),
                static_cast<unsigned long long>(list->ranges()));
  }
  return {};
}

struct KindTotals {
  uint64_t extents = 0;
  uint64_t bytes = 0;
  uint64_t payload = 0;
};

void ShowExtent(const repl::Extent& extent, uint64_t payload, const Options& options, json& out) {
  const char* kind = kKinds[static_cast<size_t>(extent.kind)];
  if (options.print_json) {
    out["list"].push_back({{"offset", extent.offset},
                           {"length", extent.length},
                           {"kind", kind},
                           {"payload", payload}});
  } else {
    std::printf("extent       byte %llu, %u bytes, %s, %llu stored\n",
                static_cast<unsigned long long>(extent.offset), extent.length, kind,
                static_cast<unsigned long long>(payload));
  }
}

void ShowTotals(const std::array<KindTotals, 4>& totals, const Options& options, json& out) {
  KindTotals all;
  for (size_t i = 0; i < totals.size(); ++i) {
    all.extents += totals[i].extents;
    all.bytes += totals[i].bytes;
    all.payload += totals[i].payload;
    out["kinds"][kKinds[i]] = totals[i].extents;
  }
  out["extents"] = all.extents;
  out["bytes"] = all.bytes;
  out["payload"] = all.payload;
  if (options.print_json) {
    PrintJson(out);
    return;
  }
  std::printf("%-12s %s in %llu extents, %s stored\n", "content", FormatSize(all.bytes).c_str(),
              static_cast<unsigned long long>(all.extents), FormatSize(all.payload).c_str());
  for (size_t i = 0; i < totals.size(); ++i) {
    if (totals[i].extents == 0) continue;
    std::printf(
        "  %-10s %s in %llu extents, %s stored\n", kKinds[i], FormatSize(totals[i].bytes).c_str(),
        static_cast<unsigned long long>(totals[i].extents), FormatSize(totals[i].payload).c_str());
  }
}

Status ShowDelta(repl::ByteSource& source, const Options& options) {
  auto delta = repl::DeltaReader::Open(source);
  if (!delta) return Pass(delta);
  json out = HeadJson("delta", delta->head().common);
  out["base_sums"] = delta->head().base_sums;
  if (!options.print_json) PrintHead("delta", delta->head().common);
  if (!options.print_json && !delta->head().base_sums) {
    std::printf("%-12s none: its base was a bookmark\n", "base sums");
  }
  std::array<KindTotals, 4> totals;
  repl::Extent extent;
  repl::Record record;
  for (;;) {
    auto more = delta->Next(&extent, &record);
    if (!more) return Pass(more);
    if (!*more) break;
    if (!repl::ExtentDecoder::PayloadIsGood(extent, record.payload)) {
      return delta->Damaged(record.payload_offset(), "checksum of the payload does not match");
    }
    KindTotals& kind = totals[static_cast<size_t>(extent.kind)];
    ++kind.extents;
    kind.bytes += extent.length;
    kind.payload += record.payload.size();
    if (options.verbose) ShowExtent(extent, record.payload.size(), options, out);
  }
  ShowTotals(totals, options, out);
  return {};
}

Result<int> Run(const Options& options) {
  auto source = repl::FileSource::Open(options.file);
  if (!source) return Pass(source);
  if (!(*source)->rewindable()) return Fail(ESPIPE, options.file + ": must be a file");
  repl::Magic magic{};
  auto n = (*source)->Read(std::as_writable_bytes(std::span(magic)));
  if (!n) return Pass(n);
  if (Status s = (*source)->Rewind(); !s) return Pass(s);
  const bool changelist = magic == repl::kChangelistMagic;
  if (!changelist && magic != repl::kDeltaMagic) {
    return Fail(EBADMSG, options.file + ": neither a delta nor a changelist: bad magic at byte 0");
  }
  Status s = changelist ? ShowChangelist(**source, options) : ShowDelta(**source, options);
  if (!s) return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("FILE", &options->file, "a delta or a changelist").Required();
  args.AddFlag("-v,--verbose", &options->verbose, "every extent or range");
  AddJson(args, &options->print_json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaShow = {
    "delta show", {}, "check a delta or changelist and print what it holds", Declare};

}  // namespace ddsnap
