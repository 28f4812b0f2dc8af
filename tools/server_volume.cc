// SPDX-License-Identifier: GPL-2.0
#include "server_volume.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/uuid.h"
#include "control_verb.h"
#include "repl/changelist.h"

namespace ddsnap {
namespace {

using nlohmann::json;

// "2026-01-31T12:00:00Z" as nanoseconds since 1970, or 0.
int64_t ParseTime(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return end == nullptr ? 0 : static_cast<int64_t>(::timegm(&parts)) * 1'000'000'000;
}

Result<repl::SnapshotId> ParseSnapshot(const json& entry) {
  auto tag = Field<Tag>(entry, "tag");
  auto epoch = Field<uint64_t>(entry, "epoch");
  auto size = Field<uint64_t>(entry, "size");
  auto created = Field<std::string>(entry, "created");
  if (!tag) return Pass(tag);
  if (!epoch) return Pass(epoch);
  if (!size) return Pass(size);
  if (!created) return Pass(created);
  return repl::SnapshotId{
      .epoch = *epoch, .tag = *tag, .size = *size, .created_ns = ParseTime(*created)};
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

}  // namespace

Result<ServerVolume> ServerVolume::Ask(ControlClient& client) {
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
  ServerVolume volume{*uuid, *chunk_size, *origin_size, {}, {}, {}, {}, 0};
  const auto snapshots = list->find("snapshots");
  if (snapshots == list->end() || !snapshots->is_array()) {
    return Fail(EPROTO, "server's answer has no snapshots");
  }
  for (const json& entry : *snapshots) {
    auto snapshot = ParseSnapshot(entry);
    if (!snapshot) return Pass(snapshot);
    volume.free_tag = std::max(volume.free_tag, snapshot->tag + 1);
    const std::string state = entry.value("state", "");
    if (state != "deleting") volume.tags.push_back(snapshot->tag);
    if (state == "ok") volume.snapshots.push_back(*snapshot);
    if (entry.value("private_chunks", uint64_t{0}) > 0) volume.written.push_back(snapshot->epoch);
    if (state == "bookmark") volume.bookmarks.push_back(*snapshot);
  }
  return volume;
}

Result<repl::SnapshotId> ServerVolume::WithTag(Tag tag) const {
  const auto it = std::ranges::find(snapshots, tag, &repl::SnapshotId::tag);
  if (it != snapshots.end()) return *it;
  const bool mark = std::ranges::find(bookmarks, tag, &repl::SnapshotId::tag) != bookmarks.end();
  return Fail(ENOENT, "snapshot " + std::to_string(tag) +
                          (mark ? ": is a bookmark, without contents" : ": there is none"));
}

Result<repl::SnapshotId> ServerVolume::WithEpoch(Epoch epoch) const {
  const auto it = std::ranges::find(snapshots, epoch, &repl::SnapshotId::epoch);
  if (it != snapshots.end()) return *it;
  return Fail(ENOENT, "snapshot of epoch " + std::to_string(epoch) + ": there is none any more");
}

Result<repl::SnapshotId> ServerVolume::BaseWithTag(Tag tag) const {
  const auto it = std::ranges::find(bookmarks, tag, &repl::SnapshotId::tag);
  return it != bookmarks.end() ? *it : WithTag(tag);
}

Result<repl::SnapshotId> ServerVolume::BaseWithEpoch(Epoch epoch) const {
  const auto it = std::ranges::find(bookmarks, epoch, &repl::SnapshotId::epoch);
  return it != bookmarks.end() ? *it : WithEpoch(epoch);
}

bool ServerVolume::WasWritten(const repl::SnapshotId& id) const {
  return std::ranges::find(written, id.epoch) != written.end();
}

bool ServerVolume::HasLostContent(const repl::SnapshotId& id) const {
  return IsBookmark(id) || WasWritten(id);
}

bool ServerVolume::IsFree(Tag tag) const { return std::ranges::find(tags, tag) == tags.end(); }

bool ServerVolume::IsBookmark(const repl::SnapshotId& id) const {
  return std::ranges::find(bookmarks, id.epoch, &repl::SnapshotId::epoch) != bookmarks.end();
}

repl::SnapshotId ServerVolume::Origin() const {
  return {.epoch = 0, .tag = repl::kOriginTag, .size = origin_size};
}

Result<ChangelistCounts> FetchChangelist(ControlClient& client, const repl::StreamHead& head,
                                         repl::ByteSink& out) {
  repl::ChangelistWriter writer(out, head);
  const bool to_origin = head.target.tag == repl::kOriginTag;
  const int64_t to = to_origin ? -1 : static_cast<int64_t>(head.target.tag);
  auto answer = client.Call({{"verb", "changelist"}, {"from", head.base.tag}, {"to", to}},
                            [&writer](const ChunkRange& range) { return writer.Add(range); });
  if (!answer) return Pass(answer);
  if (Status s = CheckUnchanged(*answer, "from", head.base); !s) return Pass(s);
  if (Status s = CheckUnchanged(*answer, "to", head.target); !s) return Pass(s);
  if (Status s = writer.Finish(); !s) return Pass(s);
  return ChangelistCounts{writer.ranges(), writer.chunks()};
}

Result<bool> OriginIsStill(ControlClient& client, Tag tag) {
  bool changed = false;
  auto answer = client.Call({{"verb", "changelist"}, {"from", tag}, {"to", -1}},
                            [&changed](const ChunkRange&) -> Status {
                              changed = true;
                              return {};
                            });
  if (!answer) return Pass(answer);
  return !changed;
}

}  // namespace ddsnap
