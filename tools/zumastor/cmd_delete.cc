// SPDX-License-Identifier: GPL-2.0
// zumastor delete NAME TAG...
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
