// SPDX-License-Identifier: GPL-2.0
// ddsnap delta changelist SOCK FILE FROM TO
#include <ctime>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "commands.h"
#include "control_verb.h"
#include "repl/changelist.h"
#include "wire/control.h"

namespace ddsnap {
namespace {

using nlohmann::json;

struct Options {
  std::string socket;
  std::string file;
  Tag from = 0;
  std::string to;
  bool print_json = false;
};

// "2026-01-31T12:00:00Z" as nanoseconds since 1970, or 0.
int64_t ParseTime(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return end == nullptr ? 0 : static_cast<int64_t>(::timegm(&parts)) * 1'000'000'000;
}

Result<repl::SnapshotId> FindSnapshot(const json& list, Tag tag) {
  const auto snapshots = list.find("snapshots");
  if (snapshots == list.end() || !snapshots->is_array()) {
    return Fail(EPROTO, "server's answer has no snapshots");
  }
  for (const json& entry : *snapshots) {
    auto found = Field<int64_t>(entry, "tag");
    if (!found) return Pass(found);
    if (*found != static_cast<int64_t>(tag)) continue;
    auto epoch = Field<uint64_t>(entry, "epoch");
    auto size = Field<uint64_t>(entry, "size");
    auto created = Field<std::string>(entry, "created");
    if (!epoch) return Pass(epoch);
    if (!size) return Pass(size);
    if (!created) return Pass(created);
    return repl::SnapshotId{.epoch = *epoch,
                            .tag = tag,
                            .size = *size,
                            .created_ns = ParseTime(*created)};
  }
  return Fail(ENOENT, "snapshot " + std::to_string(tag) + ": there is none");
}

Result<repl::StreamHead> Ask(ControlClient& client, Tag from, Tag to) {
  auto status = client.Call({{"verb", "status"}});
  if (!status) return Pass(status);
  auto list = client.Call({{"verb", "list"}});
  if (!list) return Pass(list);
  auto text = Field<std::string>(*status, "volume_uuid");
  if (!text) return Pass(text);
  auto uuid = ParseUuid(*text);
  if (!uuid) return Pass(uuid);
  auto chunk_size = Field<uint32_t>(*status, "chunk_size");
  if (!chunk_size) return Pass(chunk_size);
  auto origin_size = Field<uint64_t>(*status, "origin_size");
  if (!origin_size) return Pass(origin_size);
  auto base = FindSnapshot(*list, from);
  if (!base) return Pass(base);
  Result<repl::SnapshotId> target =
      repl::SnapshotId{.epoch = 0, .tag = repl::kOriginTag, .size = *origin_size};
  if (to != repl::kOriginTag) target = FindSnapshot(*list, to);
  if (!target) return Pass(target);
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  return repl::StreamHead{.volume = *uuid,
                          .chunk_size = *chunk_size,
                          .base = *base,
                          .target = *target,
                          .made_ns = now};
}

// The head was written before the ranges came: it must have stayed true.
Status CheckUnchanged(const json& answer, const char* field, const repl::SnapshotId& id) {
  const auto now = answer.find(field);
  if (now == answer.end()) return Fail(EPROTO, std::string("server's answer has no ") + field);
  auto epoch = Field<uint64_t>(*now, "epoch");
  if (!epoch) return Pass(epoch);
  auto size = Field<uint64_t>(*now, "size");
  if (!size) return Pass(size);
  if (*epoch != id.epoch || *size != id.size) {
    return Fail(EAGAIN, repl::Describe(id) + ": changed meanwhile");
  }
  return {};
}

Result<int> Run(const Options& options) {
  Tag to = repl::kOriginTag;
  if (options.to != "-1") {
    auto tag = ParseTag(options.to);
    if (!tag) return Pass(tag);
    to = *tag;
  }
  auto client = ControlClient::Connect(options.socket);
  if (!client) return Pass(client);
  auto head = Ask(*client, options.from, to);
  if (!head) return Pass(head);
  auto sink = repl::FileSink::Create(options.file);
  if (!sink) return Pass(sink);
  repl::ChangelistWriter writer(**sink, *head);
  const int64_t to_number = to == repl::kOriginTag ? -1 : static_cast<int64_t>(to);
  auto answer = client->Call({{"verb", "changelist"}, {"from", options.from}, {"to", to_number}},
                             [&writer](const ChunkRange& range) { return writer.Add(range); });
  if (!answer) return Pass(answer);
  if (Status s = CheckUnchanged(*answer, "from", head->base); !s) return Pass(s);
  if (Status s = CheckUnchanged(*answer, "to", head->target); !s) return Pass(s);
  if (Status s = writer.Finish(); !s) return Pass(s);
  if (Status s = (*sink)->Commit(); !s) return Pass(s);
  if (options.print_json) {
    PrintJson({{"ranges", writer.ranges()},
               {"chunks", writer.chunks()},
               {"chunk_size", head->chunk_size}});
  } else if (options.file != "-") {
    std::printf("%s: %llu chunks of %s in %llu ranges\n", options.file.c_str(),
                static_cast<unsigned long long>(writer.chunks()),
                FormatSize(head->chunk_size).c_str(),
                static_cast<unsigned long long>(writer.ranges()));
  }
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  args.Add("FILE", &options->file, "file to write, or - for standard output").Required();
  AddTag(args, "FROM", &options->from, "snapshot that the other side has").Required();
  args.Add("TO", &options->to, "snapshot that it shall have; -1: the origin as it is now")
      .Required();
  AddJson(args, &options->print_json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDeltaChangelist = {
    "delta changelist", {"create-cl"}, "write which chunks two snapshots differ in to a file", Declare};

}  // namespace ddsnap
