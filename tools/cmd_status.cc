// SPDX-License-Identifier: GPL-2.0
// ddsnap status SOCK [TAG] [-v] [--size|--state|--last]
#include <cstdio>
#include <memory>
#include <optional>

#include "commands.h"
#include "snapshot_table.h"

namespace ddsnap {
namespace {

using nlohmann::json;

struct Options {
  std::string socket;
  std::optional<Tag> tag;
  bool verbose = false;
  bool size = false;
  bool state = false;
  bool last = false;
  bool json = false;
};

json Request(const Options& options, const char* verb) {
  json request = {{"verb", verb}};
  if (options.tag) request["tag"] = *options.tag;
  return request;
}

void Print(const Options& options, const json& answer, const json& value) {
  if (options.json) {
    PrintJson(answer);
  } else {
    std::printf("%s\n", value.dump().c_str());
  }
}

// Sectors of the origin or a snapshot: the length of a device-mapper table line.
Result<int> PrintSize(const Options& options) {
  auto answer = AskServer(options.socket, Request(options, "size"));
  if (!answer) return Pass(answer);
  auto sectors = Field<uint64_t>(*answer, "sectors");
  if (!sectors) return Pass(sectors);
  Print(options, *answer, *sectors);
  return 0;
}

// The state is the exit code: 0 usable, 1 absent, 2 given up, 3 a bookmark.
Result<int> ExitWithState(const Options& options) {
  auto answer = AskServer(options.socket, Request(options, "state"));
  if (!answer) return Pass(answer);
  auto state = Field<int>(*answer, "state");
  if (!state) return Pass(state);
  if (options.json) PrintJson(*answer);
  return *state;
}

// The tag of the newest snapshot; nothing, and exit code 1, if there is none.
Result<int> PrintLast(const Options& options) {
  auto answer = AskServer(options.socket, {{"verb", "list"}});
  if (!answer) return Pass(answer);
  json newest;
  for (const auto& snapshot : answer->value("snapshots", json::array())) {
    const std::string state = snapshot.value("state", "");
    if (state != "deleting" && state != "bookmark") newest = snapshot;
  }
  if (newest.is_null()) return Fail(ENOENT, options.socket + ": there is no snapshot");
  auto tag = Field<Tag>(newest, "tag");
  if (!tag) return Pass(tag);
  Print(options, newest, *tag);
  return 0;
}

Status PrintVolume(const json& answer) {
  auto uuid = Field<std::string>(answer, "volume_uuid");
  auto chunk = Field<uint64_t>(answer, "chunk_size");
  auto origin = Field<uint64_t>(answer, "origin_size");
  auto link = Field<std::string>(answer, "link");
  const json store = answer.value("store", json::object());
  auto total = Field<uint64_t>(store, "total_chunks");
  auto free = Field<uint64_t>(store, "free_chunks");
  auto metadata = Field<uint64_t>(store, "metadata_bytes");
  if (!uuid || !chunk || !origin || !link || !total || !free || !metadata) {
    return Fail(EPROTO, "server's answer is incomplete");
  }
  std::printf("volume     %s\n", uuid->c_str());
  std::printf("origin     %s\n", FormatSize(*origin).c_str());
  std::printf("chunks of  %s\n", FormatSize(*chunk).c_str());
  std::printf("store      %llu chunks, %llu free (%s), metadata %s\n",
              static_cast<unsigned long long>(*total), static_cast<unsigned long long>(*free),
              FormatSize(*free * *chunk).c_str(), FormatSize(*metadata).c_str());
  std::printf("kernel     %s\n", link->c_str());
  if (auto failed = Field<std::string>(answer, "failed")) {
    std::printf("FAILED     %s\n", failed->c_str());
  }
  if (auto tag = Field<Tag>(answer, "reverting")) {
    std::printf("REVERTING  to snapshot %u: not finished, the origin is in between\n", *tag);
  }
  return {};
}

Result<int> PrintStatus(const Options& options) {
  auto answer = AskServer(options.socket, Request(options, "status"));
  if (!answer) return Pass(answer);
  if (options.json) {
    PrintJson(*answer);
    return 0;
  }
  if (!options.tag) {
    if (Status s = PrintVolume(*answer); !s) return Pass(s);
    std::printf("\n");
  }
  const SnapshotColumns columns = {.space = true, .verbose = options.verbose};
  if (Status s = PrintSnapshots(*answer, columns); !s) return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddTag(args, "TAG", &options->tag, "one snapshot");
  args.AddFlag("-v,--verbose", &options->verbose, "more columns");
  Argument size = args.AddFlag("--size", &options->size, "print sectors of the origin or snapshot");
  Argument state =
      args.AddFlag("--state", &options->state,
                   "exit with 0 usable, 1 absent, 2 given up, 3 a bookmark; print nothing");
  Argument last = args.AddFlag("--last", &options->last, "print the tag of the newest snapshot");
  size.Excludes(state).Excludes(last);
  state.Excludes(last);
  AddJson(args, &options->json);
  return [options]() -> Result<int> {
    if (options->size) return PrintSize(*options);
    if (options->state && !options->tag) return Fail(EINVAL, "--state: which snapshot?");
    if (options->state) return ExitWithState(*options);
    if (options->last) return PrintLast(*options);
    return PrintStatus(*options);
  };
}

}  // namespace

const Command kStatus = {"status", {}, "show the store and its snapshots", Declare};

}  // namespace ddsnap
