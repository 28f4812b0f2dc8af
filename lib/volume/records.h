// SPDX-License-Identifier: GPL-2.0
// What is remembered of a volume beside its configuration and its store:
// /var/lib/zumastor/volumes/NAME.json.  Losing it loses no data: its snapshots
// then belong to no rotation, and every schedule is due once.
//
// Thread rule: one thread; the volume's lock is held from Load to Save.
#ifndef DDSNAP_VOLUME_RECORDS_H_
#define DDSNAP_VOLUME_RECORDS_H_

#include <cstdint>
#include <ctime>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "volume/volume_config.h"

namespace ddsnap {

struct JobRecord {
  time_t finished = 0;
  std::string error;  // empty: it went well
};

struct SnapshotRecord {
  std::vector<std::string> rotations;  // that it is kept for
};

// What is known of another host's volume, or a folder, that this one is sent to or comes from.
struct PeerRecord {
  std::optional<Tag> held;     // snapshot that both sides have: the base of what comes next
  std::optional<Tag> sending;  // on its way to a target, or cut off there
  time_t held_created = 0;     // when `held` was made, upstream
  time_t last_try = 0;         // when the last attempt ended
  time_t last_success = 0;     // when the peer last had all that there was
  std::string error;           // of the last attempt; empty: it went well
  uint64_t bytes = 0;          // that the last snapshot took on its way
  uint64_t milliseconds = 0;   // and how long
  uint64_t requests = 0;       // of zumastor replicate, that are not served yet
  uint64_t asked = 0;          // requests that there ever were: tells whether one came meanwhile
  bool unsure = false;         // what is `sending` began without a look at its base's content
  bool torn = false;           // received: neither one snapshot nor another, and no way back
  time_t aborted = 0;  // when it was last stopped by hand: what was due then is not any more
  bool operator==(const PeerRecord&) const = default;
};

struct Records {
  std::string uuid;  // of the store that this is about
  Tag next_tag = 0;  // numbers are not used twice
  std::map<Tag, SnapshotRecord> snapshots;
  std::map<std::string, time_t> last_run;     // of each rotation
  std::map<std::string, JobRecord> jobs;      // "snapshot", "revert", ...
  std::map<std::string, PeerRecord> targets;  // by name; those that fetch too
  PeerRecord source;
};

// Snapshots that a replication needs: no rotation takes them.
[[nodiscard]] std::set<Tag> HeldSnapshots(const Records& records);

// The names of all targets, of the configuration or in the records, and "", the source.
[[nodiscard]] std::vector<std::string> PeersOf(const VolumeConfig& config, const Records& records);

class RecordFolder {
 public:
  explicit RecordFolder(std::string root);  // holds volumes/
  // /var/lib/zumastor, or $ZUMASTOR_STATEDIR.
  [[nodiscard]] static RecordFolder Default();

  // Empty records where there are none, or where they are of another store
  // than `uuid`.  EBADMSG for a file that is no such record.
  [[nodiscard]] Result<Records> Load(const std::string& volume, const std::string& uuid) const;
  // Replaces the file as a whole, durably.
  [[nodiscard]] Status Save(const std::string& volume, const Records& records) const;
  [[nodiscard]] Status Remove(const std::string& volume) const;

  // Whether a server has left its mark here: that this store failed, and the origin was written to
  // without it.
  [[nodiscard]] bool HasAbandonedMark(const std::string& uuid) const;

 private:
  [[nodiscard]] std::string PathOf(const std::string& volume) const;
  std::string root_;
};

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_RECORDS_H_
