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

Json ToJson(const Records& records) {
  Json snapshots = Json::array(), jobs = Json::object();
  for (const auto& [tag, record] : records.snapshots)
    snapshots.push_back({{"tag", tag}, {"rotations", record.rotations}});
  for (const auto& [name, job] : records.jobs)
    jobs[name] = {{"finished", job.finished}, {"error", job.error}};
  return {{"uuid", records.uuid},
          {"next_tag", records.next_tag},
          {"snapshots", snapshots},
          {"last_run", records.last_run},
          {"jobs", jobs}};
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
  return records;
}

}  // namespace

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
  if (!file) return fresh;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    Records records = FromJson(Json::parse(text));
    return records.uuid == uuid ? records : fresh;
  } catch (const Json::exception&) {
    return Fail(EBADMSG, PathOf(volume) + ": damaged; without it, its snapshots are in no rotation");
  }
}

Status RecordFolder::Save(const std::string& volume, const Records& records) const {
  for (const std::string& path : {root_, root_ + "/volumes"})
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FailErrno(errno, path);
  return WriteWholeFile(PathOf(volume), ToJson(records).dump(1) + "\n");
}

Status RecordFolder::Remove(const std::string& volume) const {
  if (::unlink(PathOf(volume).c_str()) == 0 || errno == ENOENT) return {};
  return FailErrno(errno, PathOf(volume));
}

}  // namespace ddsnap
