// SPDX-License-Identifier: GPL-2.0
// zumastor list [NAME]
#include <cstdio>
#include <memory>

#include "cli/options.h"
#include "cli/output.h"
#include "commands.h"
#include "volume_report.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  bool json = false;
};

std::string Words(const nlohmann::json& list) {
  std::string words;
  for (const auto& word : list) words += (words.empty() ? "" : ",") + word.get<std::string>();
  return words.empty() ? "-" : words;
}

Result<int> ListVolumes(const Options& options) {
  auto names = ConfigFolder::Default().List();
  if (!names) return Pass(names);
  nlohmann::json all = nlohmann::json::array();
  Table table({"VOLUME", "STATE", "ORIGIN", "STORE"}, {});
  for (const std::string& name : *names) {
    const nlohmann::json volume = BriefReport(name);
    table.Add({name, volume.value("state", ""), volume.value("origin", "-"),
               volume.value("store_device", "-")});
    all.push_back(volume);
  }
  if (options.json) {
    std::printf("%s\n", all.dump(2).c_str());
  } else {
    table.Print();
  }
  return 0;
}

Result<int> ListSnapshots(const Options& options) {
  auto report = VolumeReport(options.name);
  if (!report) return Pass(report);
  const nlohmann::json& snapshots = report->at("snapshots");
  if (options.json) {
    std::printf("%s\n", snapshots.dump(2).c_str());
    return 0;
  }
  Table table({"TAG", "CREATED", "STATE", "KEPT AS"}, {0});
  for (const auto& snapshot : snapshots)
    table.Add({snapshot.at("tag").dump(), snapshot.at("created").get<std::string>(),
               snapshot.at("state").get<std::string>(), Words(snapshot.at("rotations"))});
  table.Print();
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "list this volume's snapshots");
  AddJson(args, &options->json);
  return
      [options] { return options->name.empty() ? ListVolumes(*options) : ListSnapshots(*options); };
}

}  // namespace

const Command kList = {"list", {}, "list volumes, or the snapshots of one", Declare};

}  // namespace ddsnap
