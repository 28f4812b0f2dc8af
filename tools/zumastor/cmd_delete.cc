// SPDX-License-Identifier: GPL-2.0
// zumastor delete NAME TAG...
#include <algorithm>
#include <cerrno>
#include <memory>

#include "cli/options.h"
#include "commands.h"
#include "live_volume.h"
#include "snapshot_mounts.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> tags;
};

// Whoever deletes a base has everything sent once more: that must be meant.
Status CheckNotHeld(const LiveVolume& volume, const std::vector<Tag>& tags) {
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  auto snapshots = volume.Snapshots();
  if (!snapshots) return Pass(snapshots);
  const auto refuse = [&](Tag tag, const std::string& who, const std::string& what) -> Status {
    // One that was given up is of no use to anybody.
    const bool usable = std::ranges::any_of(
        *snapshots, [tag](const LiveSnapshot& s) { return s.tag == tag && s.state != "given-up"; });
    if (!usable) return {};
    return Fail(EBUSY, volume.name() + ": snapshot " + std::to_string(tag) + ": " + who +
                           " needs it; " + what);
  };
  for (const Tag tag : tags) {
    for (const auto& [name, peer] : records->targets)
      if (peer.held == tag || peer.sending == tag)
        if (Status s = refuse(tag, name, "zumastor forget target " + volume.name() + " " + name);
            !s)
          return s;
    if (volume.config().source && records->source.held == tag)
      if (Status s = refuse(tag, "what comes next", "zumastor forget source " + volume.name()); !s)
        return s;
  }
  return {};
}

Result<int> Run(const Options& options) {
  std::vector<Tag> tags;
  for (const std::string& text : options.tags) {
    auto tag = ParseTag(text);
    if (!tag) return Pass(tag);
    tags.push_back(*tag);
  }
  auto volume = LiveVolume::Open(options.name);
  if (!volume) return Pass(volume);
  if (Status s = volume->RequireUp(); !s) return Pass(s);
  if (Status s = CheckNotHeld(*volume, tags); !s) return Pass(s);
  Status deleted;
  for (const Tag tag : tags)
    if (deleted = volume->DeleteSnapshot(tag); !deleted) break;
  // Also for one that could not be deleted: it gets its folder back.
  auto left = volume->Snapshots();
  if (!left) return Pass(left);
  Status synced = SyncSnapshotMounts(*volume, *left);
  if (!deleted) return Pass(deleted);
  if (!synced) return Pass(synced);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("TAG", &options->tags, "snapshots").Required();
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDelete = {"delete", {}, "delete snapshots", Declare};

}  // namespace ddsnap
