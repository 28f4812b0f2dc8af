// SPDX-License-Identifier: GPL-2.0
// zumastor verify NAME [TARGET] [--repair]
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "../control_verb.h"
#include "cli/options.h"
#include "cli/output.h"
#include "commands.h"
#include "report.h"
#include "verifying.h"

namespace ddsnap {
namespace {

using nlohmann::json;

struct Options {
  std::string name, target;
  bool repair = false;
  bool json = false;
};

Result<std::vector<TargetConfig>> Chosen(const VolumeConfig& config, const std::string& name) {
  auto targets = config.targets;
  if (!name.empty())
    std::erase_if(targets, [&](const TargetConfig& target) { return target.name != name; });
  if (!targets.empty()) return targets;
  return Fail(ENOENT, config.name + ": has no target" + (name.empty() ? "" : " " + name));
}

json ToJson(const std::string& volume, const std::string& target, const Verdict& verdict) {
  json out = {{"volume", volume},
              {"target", target},
              {"snapshot", verdict.snapshot},
              {"compared", verdict.compared},
              {"different", verdict.different},
              {"ranges", json::array()},
              {"origin_differs", verdict.origin_differs},
              {"repaired", verdict.repaired}};
  for (const auto& [offset, length] : verdict.ranges) out["ranges"].push_back({offset, length});
  return out;
}

// "in 3 chunks (first at byte N)"
std::string Where(const Verdict& verdict) {
  const bool one = verdict.different == 1;
  return "in " + std::to_string(verdict.different) + (one ? " chunk (" : " chunks (first ") +
         "at byte " + std::to_string(verdict.ranges.front().first) + ")";
}

std::string Describe(const std::string& volume, const std::string& target, const Verdict& verdict) {
  const std::string snapshot = ": snapshot " + std::to_string(verdict.snapshot);
  const std::string compared = FormatSize(verdict.compared) + " compared";
  if (verdict.deltas > 0)
    return target + snapshot + ": " + std::to_string(verdict.deltas) +
           (verdict.deltas == 1 ? " delta leads" : " deltas lead") +
           " to it, all sound: " + compared;
  const auto remote = ParseRemote(target);
  const std::string theirs = remote && !remote->volume.empty() ? remote->volume : volume;
  std::string text = theirs + " on " + (remote ? remote->host : target) + snapshot;
  if (verdict.different == 0) {
    text += " is the same: " + compared;
    if (verdict.origin_differs) text += "; but " + theirs + " was written to since";
  } else {
    text += (verdict.repaired ? " differed " : " differs ") + Where(verdict);
  }
  if (!verdict.repaired) return text;
  return text + ": repaired; there the good one is snapshot " + std::to_string(verdict.mended) +
         (verdict.different == 0 ? "" : ", the damaged one " + std::to_string(verdict.there));
}

Result<int> Run(const Options& options) {
  auto config = ConfigFolder::Default().Load(options.name);
  if (!config) return Pass(config);
  auto targets = Chosen(*config, options.target);
  if (!targets) return Pass(targets);
  Status failed;
  bool good = true;
  for (const TargetConfig& target : *targets) {
    auto verdict = Verify(options.name, target, options.repair, options.json);
    if (!verdict) {
      if (!failed) Warn(failed.error().text);
      failed = Pass(verdict);
      continue;
    }
    good = good && verdict->good();
    if (options.json) {
      PrintJson(ToJson(options.name, target.name, *verdict));
    } else {
      std::printf("%s\n", Describe(options.name, target.name, *verdict).c_str());
    }
  }
  if (!failed) return Pass(failed);
  return good ? 0 : 1;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("TARGET", &options->target, "one of its targets; without it, all");
  args.AddFlag("--repair", &options->repair, "send again what differs");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kVerify = {
    "verify", {}, "compare what a volume's targets hold with its snapshots", Declare};

}  // namespace ddsnap
