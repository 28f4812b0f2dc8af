// SPDX-License-Identifier: GPL-2.0
#include "volume_report.h"

#include <algorithm>
#include <ctime>

#include "dm/dm.h"
#include "host/mounts.h"
#include "live_volume.h"
#include "service_manager.h"
#include "snapshot_mounts.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

std::string Time(time_t when) {
  tm parts{};
  char text[32];
  if (::gmtime_r(&when, &parts) == nullptr) return "";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

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

void AddRecords(const std::string& name, Json* report) {
  auto records = RecordFolder::Default().Load(name, report->value("volume_uuid", ""));
  if (!records) {
    AddProblem(report, records.error().text, "remove the file");
    return;
  }
  for (auto& snapshot : report->at("snapshots")) {
    const auto it = records->snapshots.find(snapshot.value("tag", Tag{0}));
    snapshot["rotations"] = it == records->snapshots.end() ? std::vector<std::string>{}
                                                           : it->second.rotations;
    snapshot["folder"] =
        "/run/zumastor/snapshot/" + name + "/" + FolderName(snapshot.value("created", ""));
  }
  (*report)["jobs"] = Json::object();
  for (const auto& [job, record] : records->jobs)
    (*report)["jobs"][job] = {{"finished", Time(record.finished)}, {"error", record.error}};
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
    AddProblem(&report, "a revert" + text + " is under way, or was cut off",
               tag ? "zumastor revert " + name + " " + std::to_string(*tag) : "zumastor start " + name);
  }
  if (report["state"] != "up") return report;
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
  AddRecords(name, &report);
  FindProblems(name, &report);
  return report;
}

}  // namespace ddsnap
