// SPDX-License-Identifier: GPL-2.0
#include "volume_report.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>

#include "cli/output.h"
#include "dm/dm.h"
#include "host/mounts.h"
#include "live_volume.h"
#include "replica.h"
#include "replicating.h"
#include "service_manager.h"
#include "snapshot_mounts.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

Json TimeOrNull(time_t when) { return when == 0 ? Json(nullptr) : Json(FormatTime(when)); }

void AddProblem(Json* report, const std::string& what, const std::string& remedy) {
  (*report)["problems"].push_back({{"what", what}, {"remedy", remedy}});
}

// How full the store is, in percent.
int UsedPercent(const Json& store) {
  const double total = store.value("total_chunks", 0.0), free = store.value("free_chunks", 0.0);
  return total > 0 ? static_cast<int>(100 * (total - free) / total) : 0;
}

void FindProblems(const std::string& name, Json* report) {
  const std::string link = report->value("link", "");
  if (link == "waiting")
    AddProblem(report, "the kernel has no link to the server: first writes wait",
               "journalctl -u zumastor-agent -u 'zumastor-server@" + name + "'");
  if (IsEarly(name))
    AddProblem(report, "its snapshots wait for /var/lib/zumastor to be mounted",
               "mount it, then zumastor start " + name);
  if (report->contains("failed"))
    AddProblem(report, "the snapshot store failed: " + report->at("failed").get<std::string>(),
               "check the store's device, then zumastor stop and start the volume");
  if (const int used = UsedPercent(report->value("store", Json::object())); used >= 80)
    AddProblem(report, "the snapshot store is " + std::to_string(used) + " % full",
               "delete snapshots, or give the store more space");
  for (const auto& snapshot : report->at("snapshots"))
    if (snapshot.value("state", "") == "given-up")
      AddProblem(report, "snapshot " + snapshot.at("tag").dump() + " was given up",
                 "zumastor delete " + name + " " + snapshot.at("tag").dump());
  const Json jobs = report->value("jobs", Json::object());
  for (const auto& [job, record] : jobs.items())
    if (const std::string error = record.value("error", ""); !error.empty())
      AddProblem(report, "the last " + job + " job failed: " + error,
                 "journalctl -u 'zumastor-" + job + "@" + name + "'");
}

// What runs now, and how far it is; nothing if nobody is at work.
std::optional<Json> ProgressOf(const std::string& volume, const std::string& target) {
  std::ifstream file(ProgressFileOf(volume, target));
  if (!file) return std::nullopt;
  Json progress = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (progress.is_object()) return progress;
  return Json::object();
}

Json PeerReport(const std::string& volume, const std::string& target, const PeerRecord& peer,
                bool running) {
  const char* state = running               ? "running"
                      : !peer.error.empty() ? "failing"
                      : peer.last_try == 0  ? "never"
                                            : "idle";
  Json report = {{"state", state},
                 {"last_try", TimeOrNull(peer.last_try)},
                 {"last_success", TimeOrNull(peer.last_success)},
                 {"last_error", peer.error},
                 {"snapshot", peer.held ? Json(*peer.held) : Json(nullptr)},
                 {"lag", nullptr},
                 {"bytes", peer.bytes},
                 {"seconds", static_cast<double>(peer.milliseconds) / 1000}};
  if (peer.held) report["lag"] = std::max<int64_t>(0, ::time(nullptr) - peer.held_created);
  if (running)
    if (auto progress = ProgressOf(volume, target)) report["progress"] = *progress;
  return report;
}

Json SourceReport(const VolumeConfig& config, const PeerRecord& record, Json* report) {
  // Asked before and after: a receiver that begins or ends meanwhile is no stream that was cut off.
  const auto before = IsBetweenSnapshots(config);
  Json source = PeerReport(config.name, "", record, CommandLock::IsReceiving(config.name));
  const auto after = IsBetweenSnapshots(config);
  if (!after)
    AddProblem(report, after.error().text,
               "ddsnap delta receive --forget " + OriginPath(config.name) +
                   ", and zumastor revert to a known snapshot");
  source["host"] = config.source->name;
  source["between_snapshots"] = record.torn || (before.value_or(false) && after.value_or(false));
  source["way_back"] = !record.torn;
  return source;
}

// Targets of the configuration, and those that fetch.
void AddPeers(const VolumeConfig& config, const Records& records, Json* report) {
  std::map<std::string, PeerRecord> peers = records.targets;
  for (const TargetConfig& target : config.targets) peers.try_emplace(target.name);
  Json targets = Json::array();
  for (const auto& [name, peer] : peers) {
    const bool running = CommandLock::HolderOfTarget(config.name, name).has_value();
    Json entry = PeerReport(config.name, name, peer, running);
    entry["target"] = name;
    targets.push_back(entry);
  }
  (*report)["targets"] = targets;
  if (!config.source) return;
  (*report)["source"] = SourceReport(config, records.source, report);
}

void FindSourceProblems(const std::string& name, const Json& source, Json* report) {
  const std::string error = source.value("last_error", "");
  const bool running = source.value("state", "") == "running";
  if (!source.value("way_back", true) && !running) {
    AddProblem(
        report,
        "a stream was given up without a snapshot to go back to: the volume is no state that "
        "ever was" +
            (error.empty() ? "" : ": " + error),
        "everything comes when the source sends again; zumastor revert brings it to a "
        "snapshot, zumastor receive " +
            name + " --abort keeps it as it is");
  } else if (source.value("between_snapshots", false) && !running) {
    AddProblem(report,
               "a stream of the source was cut off, and the volume is between two snapshots" +
                   (error.empty() ? "" : ": " + error),
               "it goes on when the source sends again; zumastor receive " + name +
                   " --abort goes back to the snapshot before");
  } else if (!error.empty()) {
    AddProblem(report, "what the source sends cannot be received: " + error,
               "mend that; what the source sends next tries again");
  }
}

void FindPeerProblems(const std::string& name, Json* report) {
  for (const auto& target : report->at("targets"))
    if (const std::string error = target.value("last_error", ""); !error.empty())
      AddProblem(
          report, "replication to " + target.value("target", "") + " fails: " + error,
          "mend that, or forget the target; zumastor replicate " + name + " --wait tries again");
  if (report->contains("source")) FindSourceProblems(name, report->at("source"), report);
}

void AddRecords(const VolumeConfig& config, Json* report) {
  const std::string& name = config.name;
  auto records = RecordFolder::Default().Load(name, report->value("volume_uuid", ""));
  if (!records) {
    AddProblem(report, records.error().text,
               records.error().code == EBADMSG ? "remove the file" : "mend that");
    return;
  }
  for (auto& snapshot : report->at("snapshots")) {
    const auto it = records->snapshots.find(snapshot.value("tag", Tag{0}));
    snapshot["rotations"] =
        it == records->snapshots.end() ? std::vector<std::string>{} : it->second.rotations;
    snapshot["folder"] =
        "/run/zumastor/snapshot/" + name + "/" + FolderName(snapshot.value("created", ""));
  }
  (*report)["jobs"] = Json::object();
  for (const auto& [job, record] : records->jobs)
    (*report)["jobs"][job] = {{"finished", FormatTime(record.finished)}, {"error", record.error}};
  AddPeers(config, *records, report);
  FindPeerProblems(name, report);
}

// Its timers go with its unit, its devices stay if it was not the unit's command that ended.
void FindUnitProblem(const std::string& name, Json* report) {
  const std::string state = UnitProperty(VolumeUnit(name), "ActiveState");
  if (state == "inactive" || state == "failed")
    AddProblem(report, "its unit is not active: no scheduled snapshots are made",
               "zumastor start " + name);
}

}  // namespace

Json BriefReport(const std::string& name) {
  Json report = {{"volume", name}};
  auto config = ConfigFolder::Default().Load(name);
  if (!config) {
    report["state"] = "bad-configuration";
    report["error"] = config.error().text;
    return report;
  }
  report["origin"] = config->origin;
  report["store_device"] = config->store;
  auto number = dm::NumberOfName(OriginDmName(name));
  const std::string unit = number ? "active" : UnitProperty(VolumeUnit(name), "ActiveState");
  const bool failed = unit == "failed";
  // Only a revert takes the device of a volume that is active.
  report["state"] = number ? "up" : failed ? "failed" : unit == "active" ? "reverting" : "down";
  if (failed) report["error"] = UnitProperty(VolumeUnit(name), "StatusText");
  if (!number) return report;
  report["device"] = OriginPath(name);
  auto mounts = MountsOf({number->major, number->minor});
  if (mounts && !mounts->empty()) report["mountpoint"] = mounts->front().target;
  return report;
}

Result<Json> VolumeReport(const std::string& name) {
  auto config = ConfigFolder::Default().Load(name);
  if (!config) return Pass(config);
  Json report = BriefReport(name);
  report["problems"] = Json::array();
  report["snapshots"] = Json::array();
  for (const std::string& warning : config->warnings) AddProblem(&report, warning, "edit the file");
  if (report["state"] == "failed")
    AddProblem(&report, report.value("error", "it could not be brought up"),
               "journalctl -u 'zumastor@" + name + "'; zumastor start " + name);
  if (report["state"] == "reverting") {
    auto status = AskVolume(name, {{"verb", "status"}});
    const auto tag = status ? RevertUnderWay(*status) : std::nullopt;
    const std::string text = tag ? " to snapshot " + std::to_string(*tag) : "";
    AddProblem(
        &report, "a revert" + text + " is under way, or was cut off",
        tag ? "zumastor revert " + name + " " + std::to_string(*tag) : "zumastor start " + name);
  }
  if (report["state"] != "up") return report;
  FindUnitProblem(name, &report);
  auto status = AskVolume(name, {{"verb", "status"}});
  if (!status) {
    AddProblem(&report, status.error().text, "journalctl -u 'zumastor-server@" + name + "'");
    return report;
  }
  report.update(*status);
  auto& snapshots = report["snapshots"];
  snapshots.erase(std::remove_if(snapshots.begin(), snapshots.end(),
                                 [](const Json& s) { return s.value("state", "") == "deleting"; }),
                  snapshots.end());
  config->uuid = report.value("volume_uuid", "");
  if (!IsEarly(name)) AddRecords(*config, &report);
  FindProblems(name, &report);
  return report;
}

}  // namespace ddsnap
