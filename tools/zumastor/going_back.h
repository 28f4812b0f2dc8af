// SPDX-License-Identifier: GPL-2.0
// A replica out of the midst of a stream, to a snapshot or to nothing that anybody knows.
//
// Invariant: whatever is killed when, a replica that is no snapshot is never taken for one: the
// receive state, or the records' `torn`, say so until it is.
#ifndef DDSNAP_TOOLS_ZUMASTOR_GOING_BACK_H_
#define DDSNAP_TOOLS_ZUMASTOR_GOING_BACK_H_

#include <string>

#include "live_volume.h"
#include "volume/volume_config.h"

namespace ddsnap {

// Brings a replica back to what it was before the stream that was cut off.  Where the snapshot of
// that is gone, nobody knows what it holds: that is said, and remembered.  ENOENT: there is no such
// stream.
[[nodiscard]] Status GoBack(const std::string& volume);
// The same for who holds the lock of receiving.
[[nodiscard]] Status GoBackLocked(const VolumeConfig& config);

// A stream that was refused, and that only a snapshot could vouch for which is gone: no other try
// would be taken, but one that sends everything.  The caller holds the lock of receiving.
[[nodiscard]] Status GiveUpHopeless(const VolumeConfig& config);

// zumastor revert, of any volume.  A replica in the midst of a stream forgets how far that was.
[[nodiscard]] Result<Reverted> RevertVolume(const std::string& name, Tag tag,
                                            const LiveVolume::RevertProgress& progress);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_GOING_BACK_H_
