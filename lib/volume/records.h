// SPDX-License-Identifier: GPL-2.0
// What is remembered of a volume beside its configuration and its store:
// /var/lib/zumastor/volumes/NAME.json.  Losing it loses no data: its snapshots
// then belong to no rotation, and every schedule is due once.
//
// Thread rule: one thread; the volume's lock is held from Load to Save.
#ifndef DDSNAP_VOLUME_RECORDS_H_
#define DDSNAP_VOLUME_RECORDS_H_

#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"

namespace ddsnap {

struct JobRecord {
  time_t finished = 0;
  std::string error;  // empty: it went well
};

struct SnapshotRecord {
  std::vector<std::string> rotations;  // that it is kept for
};

struct Records {
  std::string uuid;  // of the store that this is about
  Tag next_tag = 0;  // numbers are not used twice
  std::map<Tag, SnapshotRecord> snapshots;
  std::map<std::string, time_t> last_run;  // of each rotation
  std::map<std::string, JobRecord> jobs;   // "snapshot", "revert", ...
};

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

 private:
  [[nodiscard]] std::string PathOf(const std::string& volume) const;
  std::string root_;
};

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_RECORDS_H_
