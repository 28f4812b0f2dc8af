// SPDX-License-Identifier: GPL-2.0
// A folder of deltas of one volume, from which any snapshot that they lead to can be made again.
// The files are described in doc/delta-format.md, "Folders of deltas".
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_TOOLS_ZUMASTOR_DELTA_FOLDER_H_
#define DDSNAP_TOOLS_ZUMASTOR_DELTA_FOLDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "repl/byte_stream.h"
#include "repl/stream_head.h"

namespace ddsnap {

struct DeltaFile {
  std::string path;
  uint64_t bytes = 0;
  repl::StreamHead head;
  bool whole = false;  // its end is there; whether it is sound only reading all of it tells
};

// A chain is a full delta and those that lead on from it, each from the target of the
// one before.
class DeltaFolder {
 public:
  // How a folder is kept from growing for ever, where the user says nothing else.
  static constexpr size_t kDeltasAfterFull = 30;
  static constexpr size_t kSnapshotsKept = 60;

  // To write deltas of the volume: makes the folder (0700) in one that exists, and removes
  // what killed writers left behind.  EBUSY: another process writes there; EINVAL: it
  // holds deltas of another volume.
  [[nodiscard]] static Result<DeltaFolder> Open(const std::string& dir, const Uuid& volume);
  // Whether anybody has written there, or there are deltas; leaves nothing there.
  [[nodiscard]] static bool IsUsed(const std::string& dir);
  // To restore from; what is there stays there as long as the object does.
  [[nodiscard]] static Result<DeltaFolder> OpenToRead(const std::string& dir);

  // Looks at the files again: after a commit.
  [[nodiscard]] Status Refresh();

  // The snapshot that the next delta may go on from.  None: only a full one helps.
  [[nodiscard]] std::optional<repl::SnapshotId> newest() const;
  // A file that appears, whole and durable, when it is committed; for a delta from `base` (none:
  // a full one) to `target`.  ESTALE: `base` is not the newest; EINVAL: `target` is not newer.
  [[nodiscard]] Result<std::unique_ptr<repl::FileSink>> Create(
      const std::optional<repl::SnapshotId>& base, const repl::SnapshotId& target);
  // Whether the next delta should be a full one: none can go on, or the newest chain has as
  // many deltas after its full one as it may have.
  [[nodiscard]] bool NeedsFull(size_t most = kDeltasAfterFull) const;
  // Removes the deltas that none of the newest `keep` snapshots needs, and returns how many
  // those were.  Never what is newer than these, or what cannot be read.  While somebody
  // restores from the folder nothing is removed.
  [[nodiscard]] Result<size_t> Prune(size_t keep = kSnapshotsKept);

  // None: the folder is empty.
  [[nodiscard]] std::optional<Uuid> volume() const { return volume_; }
  // What can be restored, as far as heads and ends of files tell: oldest first.
  [[nodiscard]] std::vector<repl::SnapshotId> snapshots() const;
  // The newest with the tag, whether it can be restored or not.  ENOENT.
  [[nodiscard]] Result<repl::SnapshotId> WithTag(Tag tag) const;
  // The newest of all.  EBADMSG: a file that cannot be read may have a newer one.
  [[nodiscard]] Result<repl::SnapshotId> Latest() const;
  // What makes the snapshot, in order, the full one first: the shortest chain.  ENOENT: a
  // link is missing; EEXIST: two files claim the same place.
  [[nodiscard]] Result<std::vector<DeltaFile>> ChainTo(const repl::SnapshotId& snapshot) const;

  [[nodiscard]] const std::vector<DeltaFile>& files() const { return files_; }  // by epoch
  // One line for each delta file that is damaged at its beginning, or does not belong here.
  [[nodiscard]] const std::vector<std::string>& unusable() const { return unusable_; }

 private:
  using Index = std::multimap<Epoch, size_t>;  // into files_

  DeltaFolder(std::string dir, std::optional<Uuid> volume)
      : dir_(std::move(dir)), wanted_(volume), volume_(volume) {}
  [[nodiscard]] Status MakeFolder() const;
  [[nodiscard]] Status RemoveLeftovers() const;
  [[nodiscard]] Result<std::vector<std::string>> Names() const;
  void Look(const std::string& path);
  [[nodiscard]] Status CheckVolume();
  [[nodiscard]] std::vector<const DeltaFile*> Leading(Epoch target, bool whole, bool full) const;
  [[nodiscard]] Result<const DeltaFile*> LinkTo(const repl::SnapshotId& target) const;
  [[nodiscard]] Status CheckFork(const DeltaFile& delta) const;
  [[nodiscard]] bool Restorable(const repl::SnapshotId& snapshot) const;
  [[nodiscard]] std::string Hint() const;

  std::string dir_;
  std::optional<Uuid> wanted_;  // none: whatever is there
  std::optional<Uuid> volume_;
  Fd writer_;  // locked: one writes
  Fd reader_;  // locked: nothing is removed
  std::vector<DeltaFile> files_;
  std::vector<std::string> unusable_;
  Index to_;    // by target
  Index from_;  // by base; without full ones
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_DELTA_FOLDER_H_
