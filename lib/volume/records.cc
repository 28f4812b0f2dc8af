// SPDX-License-Identifier: GPL-2.0
#include "volume/records.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "volume/ini_file.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

Json TagOrNull(const std::optional<Tag>& tag) { return tag ? Json(*tag) : Json(nullptr); }

std::optional<Tag> ToTag(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<Tag>());
}

Json ToJson(const PeerRecord& peer) {
  return {{"held", TagOrNull(peer.held)},
          {"sending", TagOrNull(peer.sending)},
          {"held_created", peer.held_created},
          {"last_try", peer.last_try},
          {"last_success", peer.last_success},
          {"error", peer.error},
          {"bytes", peer.bytes},
          {"milliseconds", peer.milliseconds},
          {"requests", peer.requests},
          {"asked", peer.asked},
          {"unsure", peer.unsure},
          {"torn", peer.torn},
          {"aborted", peer.aborted}};
}

PeerRecord PeerFromJson(const Json& json) {
  PeerRecord peer;
  peer.held = ToTag(json.at("held"));
  peer.sending = ToTag(json.at("sending"));
  json.at("held_created").get_to(peer.held_created);
  json.at("last_try").get_to(peer.last_try);
  json.at("last_success").get_to(peer.last_success);
  json.at("error").get_to(peer.error);
  json.at("bytes").get_to(peer.bytes);
  json.at("milliseconds").get_to(peer.milliseconds);
  json.at("requests").get_to(peer.requests);
  // Not in older files.
  peer.asked = json.value("asked", uint64_t{0});
  peer.unsure = json.value("unsure", false);
  peer.torn = json.value("torn", false);
  peer.aborted = json.value("aborted", time_t{0});
  return peer;
}

Json ToJson(const Records& records) {
  Json snapshots = Json::array(), jobs = Json::object(), targets = Json::object();
  for (const auto& [tag, record] : records.snapshots)
    snapshots.push_back({{"tag", tag}, {"rotations", record.rotations}});
  for (const auto& [name, job] : records.jobs)
    jobs[name] = {{"finished", job.finished}, {"error", job.error}};
  for (const auto& [name, peer] : records.targets) targets[name] = ToJson(peer);
  return {{"uuid", records.uuid},
          {"next_tag", records.next_tag},
          {"snapshots", snapshots},
          {"last_run", records.last_run},
          {"jobs", jobs},
          {"targets", targets},
          {"source", ToJson(records.source)}};
}

// Throws what the library throws for JSON of another shape.
Records FromJson(const Json& json) {
  Records records;
  records.uuid = json.at("uuid").get<std::string>();
  records.next_tag = json.at("next_tag").get<Tag>();
  for (const Json& snapshot : json.at("snapshots"))
    records.snapshots[snapshot.at("tag").get<Tag>()] = {
        snapshot.at("rotations").get<std::vector<std::string>>()};
  for (const auto& [name, when] : json.at("last_run").items())
    records.last_run[name] = when.get<time_t>();
  for (const auto& [name, job] : json.at("jobs").items())
    records.jobs[name] = {job.at("finished").get<time_t>(), job.at("error").get<std::string>()};
  // A file of before there was replication has neither.
  if (const auto targets = json.find("targets"); targets != json.end())
    for (const auto& [name, peer] : targets->items()) records.targets[name] = PeerFromJson(peer);
  if (const auto source = json.find("source"); source != json.end())
    records.source = PeerFromJson(*source);
  return records;
}

}  // namespace

std::set<Tag> HeldSnapshots(const Records& records) {
  std::set<Tag> held;
  const auto add = [&held](const std::optional<Tag>& tag) {
    if (tag) held.insert(*tag);
  };
  for (const auto& [name, peer] : records.targets) {
    add(peer.held);
    add(peer.sending);
  }
  add(records.source.held);
  return held;
}

std::vector<std::string> PeersOf(const VolumeConfig& config, const Records& records) {
  std::set<std::string> names = {""};
  for (const auto& [name, peer] : records.targets) names.insert(name);
  for (const TargetConfig& target : config.targets) names.insert(target.name);
  return {names.begin(), names.end()};
}

RecordFolder::RecordFolder(std::string root) : root_(std::move(root)) {}

RecordFolder RecordFolder::Default() {
  const char* root = ::secure_getenv("ZUMASTOR_STATEDIR");
  return RecordFolder(root != nullptr ? root : "/var/lib/zumastor");
}

std::string RecordFolder::PathOf(const std::string& volume) const {
  return root_ + "/volumes/" + volume + ".json";
}

Result<Records> RecordFolder::Load(const std::string& volume, const std::string& uuid) const {
  Records fresh;
  fresh.uuid = uuid;
  std::ifstream file(PathOf(volume));
  if (!file && errno != ENOENT) return FailErrno(errno, PathOf(volume));
  if (!file) return fresh;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    Records records = FromJson(Json::parse(text));
    return records.uuid == uuid ? records : fresh;
  } catch (const Json::exception&) {
    return Fail(EBADMSG,
                PathOf(volume) + ": damaged; without it, its snapshots are in no rotation");
  }
}

Status RecordFolder::Save(const std::string& volume, const Records& records) const {
  for (const std::string& path : {root_, root_ + "/volumes"})
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FailErrno(errno, path);
  return WriteWholeFile(PathOf(volume),
                        ToJson(records).dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status RecordFolder::Remove(const std::string& volume) const {
  if (::unlink(PathOf(volume).c_str()) == 0 || errno == ENOENT) return {};
  return FailErrno(errno, PathOf(volume));
}

bool RecordFolder::HasAbandonedMark(const std::string& uuid) const {
  return ::access((root_ + "/abandoned/" + uuid).c_str(), F_OK) == 0;
}

}  // namespace ddsnap
