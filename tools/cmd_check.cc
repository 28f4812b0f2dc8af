// SPDX-License-Identifier: GPL-2.0
// ddsnap check STORE [META]
#include <cstdio>
#include <memory>

#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "store/checker.h"
#include "store_devices.h"

namespace ddsnap {
namespace {

struct Options {
  bool json = false;
  StorePaths paths;
};

const char* Name(Damage::Severity severity) {
  switch (severity) {
    case Damage::Severity::kMinor:
      return "minor";
    case Damage::Severity::kMajor:
      return "major";
    case Damage::Severity::kFatal:
      return "fatal";
  }
  return "";
}

std::string TagList(const Damage& damage) {
  std::string list;
  for (const Tag tag : damage.tags) list += (list.empty() ? "" : ", ") + std::to_string(tag);
  return list;
}

void PrintForPeople(const Options& options, const CheckReport& report) {
  for (const Damage& damage : report.damages) {
    std::printf("%s: %s: %s", Name(damage.severity), damage.where.c_str(), damage.what.c_str());
    if (!damage.tags.empty()) std::printf(" (snapshots %s)", TagList(damage).c_str());
    std::printf("\n");
  }
  if (report.more != 0) {
    std::printf("and %llu more\n", static_cast<unsigned long long>(report.more));
  }
  std::printf("%s: %s: %llu snapshots, ", options.paths.store.c_str(),
              report.sound() ? "sound" : "DAMAGED",
              static_cast<unsigned long long>(report.snapshots));
  if (report.bookmarks != 0)
    std::printf("%llu bookmarks, ", static_cast<unsigned long long>(report.bookmarks));
  std::printf("%llu exceptions, %llu private chunks, %llu tree blocks\n",
              static_cast<unsigned long long>(report.exceptions),
              static_cast<unsigned long long>(report.privates),
              static_cast<unsigned long long>(report.tree_blocks));
}

void PrintForPrograms(const CheckReport& report) {
  nlohmann::json damages = nlohmann::json::array();
  for (const Damage& damage : report.damages) {
    damages.push_back({{"severity", Name(damage.severity)},
                       {"where", damage.where},
                       {"what", damage.what},
                       {"snapshots", damage.tags}});
  }
  PrintJson({{"sound", report.sound()},
             {"damages", damages},
             {"more", report.more},
             {"snapshots", report.snapshots},
             {"bookmarks", report.bookmarks},
             {"exceptions", report.exceptions},
             {"privates", report.privates},
             {"tree_blocks", report.tree_blocks}});
}

Result<int> Run(const Options& options) {
  auto devices = StoreDevices::Open(options.paths, false);
  if (!devices) return Pass(devices);
  ProgressLine line;
  auto report = CheckStore(devices->store(), devices->meta(), [&line](double part) {
    line.Show("checking", static_cast<uint64_t>(part * 1000), 1000);
  });
  line.Clear();
  if (!report) return Pass(report);
  if (options.json) {
    PrintForPrograms(*report);
  } else {
    PrintForPeople(options, *report);
  }
  return report->sound() ? 0 : 1;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  AddStorePaths(args, &options->paths);
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kCheck = {"check", {}, "verify a store that no server is using", Declare};

}  // namespace ddsnap
