// SPDX-License-Identifier: GPL-2.0
// zumastor status [NAME [TAG]] [--json | --prometheus]
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "cli/options.h"
#include "cli/output.h"
#include "commands.h"
#include "prometheus.h"
#include "volume_report.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string name;
  std::string tag;
  bool json = false;
  bool prometheus = false;
};

constexpr int kBarWidth = 20;

const char* Colour(const char* code) { return UseColour() ? code : ""; }
const char* Red() { return Colour("\033[31m"); }
const char* Yellow() { return Colour("\033[33m"); }
const char* Green() { return Colour("\033[32m"); }
const char* Plain() { return Colour("\033[0m"); }

std::string UsageBar(double used) {
  std::string bar = "[";
  for (int i = 0; i < kBarWidth; ++i) bar += (i + 0.5) / kBarWidth < used ? '#' : '-';
  return bar + "]";
}

void PrintStore(const Json& report) {
  const Json& store = report.at("store");
  const auto total = store.at("total_chunks").get<uint64_t>();
  const auto free = store.at("free_chunks").get<uint64_t>();
  const auto chunk = report.at("chunk_size").get<uint64_t>();
  const double used =
      total > 0 ? static_cast<double>(total - free) / static_cast<double>(total) : 0;
  const char* colour = used < 0.8 ? Green() : used < 0.95 ? Yellow() : Red();
  std::printf("  store     %s %s%s%s %.0f %% of %s used, chunks of %s\n",
              report.value("store_device", "").c_str(), colour, UsageBar(used).c_str(), Plain(),
              100 * used, FormatSize(total * chunk).c_str(), FormatSize(chunk).c_str());
}

void PrintSnapshots(const Json& report) {
  const auto chunk = report.value("chunk_size", uint64_t{0});
  Table table({"TAG", "CREATED", "STATE", "ONLY HERE", "KEPT AS"}, {0, 3});
  for (const auto& snapshot : report.at("snapshots")) {
    std::string kept;
    for (const auto& rotation : snapshot.value("rotations", Json::array()))
      kept += (kept.empty() ? "" : ",") + rotation.get<std::string>();
    table.Add(
        {snapshot.at("tag").dump(), snapshot.value("created", ""), snapshot.value("state", ""),
         FormatSize(snapshot.value("unshared", uint64_t{0}) * chunk), kept.empty() ? "-" : kept});
  }
  if (!report.at("snapshots").empty()) table.Print();
}

std::string Ago(const Json& seconds) {
  if (!seconds.is_number()) return "-";
  const auto lag = seconds.get<int64_t>();
  if (lag < 120) return std::to_string(lag) + " s";
  if (lag < 7200) return std::to_string(lag / 60) + " min";
  return lag < 172800 ? std::to_string(lag / 3600) + " h" : std::to_string(lag / 86400) + " d";
}

// "35 % of 1.2G", while something is under way.
std::string HowFar(const Json& peer) {
  const Json progress = peer.value("progress", Json::object());
  const auto done = progress.value("done", uint64_t{0}),
             total = progress.value("total", uint64_t{0});
  if (total == 0) return "";
  return ", " + std::to_string(100 * std::min(done, total) / total) + " % of " + FormatSize(total);
}

std::string Rate(const Json& peer) {
  const double seconds = peer.value("seconds", 0.0);
  const auto bytes = peer.value("bytes", uint64_t{0});
  if (seconds <= 0) return "-";
  return FormatSize(bytes) + ", " +
         FormatSize(static_cast<uint64_t>(static_cast<double>(bytes) / seconds)) + "/s";
}

void PrintPeers(const Json& report) {
  Table table({"REPLICATION", "STATE", "SNAPSHOT", "LAG", "LAST SUCCESS", "LAST SNAPSHOT TOOK"},
              {2});
  const auto add = [&table](const std::string& name, const Json& peer) {
    const Json& success = peer.at("last_success");
    table.Add({name, peer.value("state", "") + HowFar(peer),
               peer.at("snapshot").is_null() ? "-" : peer.at("snapshot").dump(),
               Ago(peer.at("lag")), success.is_null() ? "-" : success.get<std::string>(),
               Rate(peer)});
  };
  const Json targets = report.value("targets", Json::array());
  for (const auto& target : targets) add("to " + target.value("target", ""), target);
  const bool replica = report.contains("source");
  if (replica) add("from " + report.at("source").value("host", ""), report.at("source"));
  if (replica || !targets.empty()) table.Print();
}

void PrintReport(const Json& report) {
  const std::string state = report.value("state", "");
  std::printf("%s%s%s %s\n", state == "up" ? Green() : Red(), report.value("volume", "").c_str(),
              Plain(), state.c_str());
  std::printf("  origin    %s", report.value("origin", "").c_str());
  if (report.contains("origin_size"))
    std::printf(", %s", FormatSize(report.at("origin_size").get<uint64_t>()).c_str());
  if (report.contains("mountpoint"))
    std::printf(", mounted at %s", report.at("mountpoint").get<std::string>().c_str());
  std::printf("\n");
  if (report.contains("store")) PrintStore(report);
  if (report.contains("link")) std::printf("  kernel    %s\n", report.value("link", "").c_str());
  PrintSnapshots(report);
  PrintPeers(report);
  for (const auto& problem : report.at("problems"))
    std::printf("%s! %s%s\n    %s\n", Red(), problem.value("what", "").c_str(), Plain(),
                problem.value("remedy", "").c_str());
}

Result<Json> OneSnapshot(const Json& report, const std::string& text) {
  auto tag = ParseTag(text);
  if (!tag) return Pass(tag);
  for (const auto& snapshot : report.at("snapshots"))
    if (snapshot.value("tag", Tag{0}) == *tag) return snapshot;
  return Fail(ENOENT, report.value("volume", "") + ": snapshot " + text + ": does not exist");
}

Result<int> Run(const Options& options) {
  Result<std::vector<std::string>> names{std::in_place, {options.name}};
  if (options.name.empty()) names = ConfigFolder::Default().List();
  if (!names) return Pass(names);
  Json all = Json::array();
  for (const std::string& name : *names) {
    auto report = VolumeReport(name);
    if (!report && !options.name.empty()) return Pass(report);
    // One bad file must not hide the other volumes.
    if (!report) {
      report = BriefReport(name);
      (*report)["snapshots"] = Json::array();
      (*report)["problems"] = {{{"what", (*report)["error"]}, {"remedy", "edit the file"}}};
    }
    if (!options.tag.empty()) {
      auto snapshot = OneSnapshot(*report, options.tag);
      if (!snapshot) return Pass(snapshot);
      (*report)["snapshots"] = Json::array({*snapshot});
    }
    all.push_back(*report);
  }
  if (options.json) {
    const Json& shown = options.name.empty() ? all : all.front();
    std::printf("%s\n", shown.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return 0;
  }
  if (options.prometheus) {
    std::fputs(PrometheusText(all).c_str(), stdout);
    return 0;
  }
  for (const Json& report : all) PrintReport(report);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "one volume");
  Argument tag = args.Add("TAG", &options->tag, "one of its snapshots");
  args.AddFlag("--prometheus", &options->prometheus, "metrics in Prometheus's text format")
      .Excludes(AddJson(args, &options->json))
      .Excludes(tag);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kStatus = {"status", {}, "show volumes, their space and what is wrong", Declare};

}  // namespace ddsnap
