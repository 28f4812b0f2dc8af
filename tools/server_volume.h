// SPDX-License-Identifier: GPL-2.0
// What a server says of its volume and snapshots, as streams identify them.
#ifndef DDSNAP_TOOLS_SERVER_VOLUME_H_
#define DDSNAP_TOOLS_SERVER_VOLUME_H_

#include <optional>
#include <string>
#include <vector>

#include "repl/byte_stream.h"
#include "repl/stream_head.h"
#include "wire/control.h"

namespace ddsnap {

struct ServerVolume {
  Uuid uuid{};
  uint32_t chunk_size = 0;
  uint64_t origin_size = 0;
  std::vector<repl::SnapshotId> snapshots;  // usable ones, oldest first
  std::vector<repl::SnapshotId> bookmarks;
  std::vector<Epoch> written;  // of snapshots that something was written to
  std::vector<Tag> tags;       // in use: of these, and of snapshots that were given up
  Tag free_tag = 0;            // above any tag in use

  [[nodiscard]] static Result<ServerVolume> Ask(ControlClient& client);
  // ENOENT if there is none.
  [[nodiscard]] Result<repl::SnapshotId> WithTag(Tag tag) const;
  [[nodiscard]] Result<repl::SnapshotId> WithEpoch(Epoch epoch) const;
  // The same among snapshots and bookmarks: what changelists may begin at.
  [[nodiscard]] Result<repl::SnapshotId> BaseWithTag(Tag tag) const;
  [[nodiscard]] Result<repl::SnapshotId> BaseWithEpoch(Epoch epoch) const;
  // Whether something was written to the snapshot itself: it is not what it was made as.
  [[nodiscard]] bool WasWritten(const repl::SnapshotId& id) const;
  // Whether nobody here can tell any more what a receiver got as this one: a bookmark has no
  // content, and a snapshot that was written to has another.
  [[nodiscard]] bool HasLostContent(const repl::SnapshotId& id) const;
  // Whether a snapshot of that tag can be made.
  [[nodiscard]] bool IsFree(Tag tag) const;
  [[nodiscard]] bool IsBookmark(const repl::SnapshotId& id) const;
  // The origin as it is now.
  [[nodiscard]] repl::SnapshotId Origin() const;
};

struct ChangelistCounts {
  uint64_t ranges = 0;
  uint64_t chunks = 0;
};

// Has the server say which chunks differ, and writes that as a changelist.  EAGAIN if the
// snapshots are not any more what `head` says.
[[nodiscard]] Result<ChangelistCounts> FetchChangelist(ControlClient& client,
                                                       const repl::StreamHead& head,
                                                       repl::ByteSink& out);

// Whether the origin has not changed since the snapshot.
[[nodiscard]] Result<bool> OriginIsStill(ControlClient& client, Tag tag);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_SERVER_VOLUME_H_
