// SPDX-License-Identifier: GPL-2.0
// Which scheduled snapshots are due, and which have had their time.
//
// Thread rule: pure functions.
#ifndef DDSNAP_VOLUME_ROTATION_H_
#define DDSNAP_VOLUME_ROTATION_H_

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "volume/records.h"
#include "volume/volume_config.h"

namespace ddsnap {

// Whether a run that is remembered lies ahead of `now` by more than an hour: the clock was wrong
// then.  It counts as none, or nothing would be made until the clock is there again.
[[nodiscard]] bool LiesAhead(time_t last, time_t now);

// Whether a rotation with a name ("hourly" ... "monthly") is due at `now`: the
// hour, day, week (from Monday) or month of local time is another one than at
// `last`, or there was none.  A clock that was set back by an hour or less makes nothing due.
[[nodiscard]] bool IsDue(const std::string& rotation, std::optional<time_t> last, time_t now);

// The schedule's rotations and those of replication: "replica", made to be sent, of which the
// newest is kept while there is somebody to send to; "received".
inline constexpr char kReplicaRotation[] = "replica";
inline constexpr char kReceivedRotation[] = "received";
[[nodiscard]] std::vector<Rotation> KeptRotations(const VolumeConfig& config,
                                                  const Records& records);

// Whether a base that no rotation keeps any more need not keep its content: nothing of it is on
// its way, and all who need it are other hosts, which have lacked something for a day.  Until
// then the content is worth having: the next difference is smaller with it.
[[nodiscard]] bool MayBeBookmark(const Records& records, Tag tag, time_t now);

// Takes away, in `records`, the rotation's name from all but the newest `keep`
// of `usable`, which is in order of creation.  Returns the snapshots that are in
// no rotation any more; those that never were in one are not touched.
[[nodiscard]] std::vector<Tag> Expire(const Rotation& rotation, const std::vector<Tag>& usable,
                                      Records* records);

// "hourly.0": the snapshot of each link's name, newest first for each rotation.
[[nodiscard]] std::vector<std::pair<std::string, Tag>> RotationLinks(const std::vector<Tag>& usable,
                                                                     const Records& records);

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_ROTATION_H_
