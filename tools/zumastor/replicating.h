// SPDX-License-Identifier: GPL-2.0
// Which snapshots of a volume go to a target, and when.
//
// Invariants: the snapshot that a target has acknowledged, and the one that is on its way, are in
// the volume's records before anything relies on them, and no rotation takes what is there
// (HeldSnapshots): as long as the store can keep it, both ends have a base.  One process at a
// time sends to a target: it holds the target's lock.  The volume's lock is held for records and
// snapshots alone, never while something is sent.
#ifndef DDSNAP_TOOLS_ZUMASTOR_REPLICATING_H_
#define DDSNAP_TOOLS_ZUMASTOR_REPLICATING_H_

#include <functional>
#include <optional>
#include <string>

#include "../progress.h"
#include "../server_volume.h"
#include "../transmitting.h"
#include "live_volume.h"
#include "volume/records.h"

namespace ddsnap {

// Where progress is told while a target, or the source (empty), is at work.
[[nodiscard]] std::string ProgressFileOf(const std::string& volume, const std::string& target);

// Changes what is remembered of a target, durably, under the volume's lock.  An empty name: the
// source.
[[nodiscard]] Status UpdatePeer(const std::string& volume, const std::string& target,
                                const std::function<void(PeerRecord&)>& change);

// Does `work` for a peer, and remembers how it went.  Requests that came before are served if it
// went well; otherwise they stay, and so does what was cut off, for the next attempt.
// `work` is told how many requests there ever were: those it serves.
[[nodiscard]] Status Attempt(const std::string& volume, const std::string& target,
                             const std::function<Status(uint64_t asked)>& work);

// ENOENT: it is none of the volume's configuration.  One that was forgotten before its turn came
// must not be remembered again: a snapshot would be kept for nobody.  Under the target's lock.
[[nodiscard]] Status RequireTarget(const std::string& volume, const std::string& target);

// A snapshot to be sent, if the volume is no replica and has changed since its newest one.
[[nodiscard]] Status MakeFreshSnapshot(const std::string& volume);

// What a target that holds `held` lacks.
struct Step {
  enum class Kind : uint8_t { kNothing, kStream, kGoBack };
  Kind kind = Kind::kNothing;
  std::optional<repl::SnapshotId> base;  // none: everything is sent
  repl::SnapshotId target;
  uint64_t begin = 0, limit = 0;  // see DeltaSender::Send
};
// By a receiver's status.  ESTALE: it is a replica of another volume.  `bookmarks`: the receiver
// takes differences to what is only a bookmark here.
[[nodiscard]] Result<Step> ChooseStep(const ServerVolume& volume,
                                      const std::optional<repl::ReceiveState>& state,
                                      bool bookmarks);

// Sends one snapshot to a receiver that is connected; true if there may be more to send.
// `link_failed` says whether an error is worth another try.
struct SendJob {
  std::string volume;
  std::string target;  // its name in the records
  uint64_t rate_limit = 0;
  bool from_start = false;      // a stream that was cut off is begun again
  bool* link_failed = nullptr;  // may be null
};
[[nodiscard]] Result<bool> SendNext(const SendJob& job, Connection& connection, ProgressLine& line);

// Everything that the target of that name lacks, over as many connections as it takes, a snapshot
// of what the volume is now included.  `shared`: what there is will do if no more requests than
// that have come.  What became of it is remembered, and an event if it failed.
[[nodiscard]] Status Replicate(const std::string& volume, const TargetConfig& target,
                               std::optional<uint64_t> shared, bool json);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_REPLICATING_H_
