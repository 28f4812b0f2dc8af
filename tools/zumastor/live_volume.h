// SPDX-License-Identifier: GPL-2.0
// A volume that is up, or on its way: its server, its device-mapper devices
// and its snapshots.
//
// Invariant: one process at a time changes a volume's devices, snapshots and
// records: it holds the volume's lock.
#ifndef DDSNAP_TOOLS_ZUMASTOR_LIVE_VOLUME_H_
#define DDSNAP_TOOLS_ZUMASTOR_LIVE_VOLUME_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "../reverting.h"
#include "base/chunk.h"
#include "base/status.h"
#include "dm/dm.h"
#include "volume/records.h"
#include "volume/volume_config.h"
#include "volume_lock.h"

namespace ddsnap {

struct LiveSnapshot {
  Tag tag = 0;
  std::string created;  // RFC 3339, UTC
  std::string state;    // "ok", "given-up", "deleting", "bookmark"
  [[nodiscard]] bool ok() const { return state == "ok"; }
};

class LiveVolume {
 public:
  // Loads the configuration and takes the lock.  ENOENT: no such volume.
  [[nodiscard]] static Result<LiveVolume> Open(const std::string& name);

  [[nodiscard]] const VolumeConfig& config() const { return config_; }
  [[nodiscard]] const std::string& name() const { return config_.name; }

  // Whether its origin's device is there.
  [[nodiscard]] Result<bool> IsUp() const;
  // ENODEV, and what to do, if it is not.
  [[nodiscard]] Status RequireUp() const;

  // Origin and snapshots get their devices; what is there already stays.  A
  // failure takes the origin's device back if this call made it.  Where
  // /var/lib/zumastor is not mounted yet, the snapshots are left to BringUpRest.
  [[nodiscard]] Status BringUp();
  // What BringUp was too early for; nothing if the volume is not up.
  [[nodiscard]] Status BringUpRest();
  // All devices go, then the server.  EBUSY, with who uses it, if that cannot be; snapshots'
  // devices may be gone by then, the origin's never is.
  [[nodiscard]] Status TakeDown();

  // Brings the origin back to a snapshot.  EBUSY, with who uses it, if it is in use.  A failure
  // after the first byte was written leaves the volume without its device: the next bring-up
  // goes on, and so does doing it again.
  using RevertProgress = std::function<void(uint64_t done, uint64_t total)>;
  [[nodiscard]] Result<Reverted> Revert(Tag tag, const RevertProgress& progress);
  // Takes the origin as a revert that was cut off has left it.  ENOENT: there is none.
  [[nodiscard]] Status CancelRevert();

  // In order of creation, deleted ones left out.
  [[nodiscard]] Result<std::vector<LiveSnapshot>> Snapshots() const;

  // A device for the snapshot, and its name in /dev/zumastor.
  [[nodiscard]] Status AttachSnapshot(Tag tag) const;
  [[nodiscard]] Status DetachSnapshot(Tag tag) const;
  // Unmounts it, detaches it and has the server forget its content.
  [[nodiscard]] Status BookmarkSnapshot(Tag tag) const;
  // Unmounts it, detaches it and has the server forget it.
  [[nodiscard]] Status DeleteSnapshot(Tag tag) const;

  // Asks the volume's server, and starts it if need be.
  [[nodiscard]] Result<nlohmann::json> Ask(const nlohmann::json& request) const;

  // EAGAIN while /var/lib/zumastor is not there.
  [[nodiscard]] Result<Records> LoadRecords() const;
  [[nodiscard]] Status SaveRecords(const Records& records) const;

 private:
  LiveVolume(VolumeConfig config, CommandLock lock)
      : config_(std::move(config)), lock_(std::move(lock)) {}
  [[nodiscard]] Status CreateDevice(const std::string& dm_name, const std::string& path,
                                    std::optional<Tag> tag) const;
  [[nodiscard]] Status MakeDevices();
  [[nodiscard]] Status MakeSnapshots() const;
  [[nodiscard]] Status LeaveRest() const;
  [[nodiscard]] Status ObeyAbandonedMark() const;
  void RememberUuid() const;
  [[nodiscard]] Status AttachOrigin() const;
  [[nodiscard]] Status DetachAllSnapshots() const;
  [[nodiscard]] std::string RevertDmName() const;
  [[nodiscard]] Result<Reverted> RevertHidden(Tag tag, const RevertProgress& progress) const;
  [[nodiscard]] Status FinishRevert() const;
  [[nodiscard]] Status StopServer() const;
  void EndReplication() const;

  VolumeConfig config_;
  CommandLock lock_;
  bool rest_ = false;  // the records are there, for all that IsEarly says
};

// Whether the volume came up before /var/lib/zumastor, for which its snapshots wait.
[[nodiscard]] bool IsEarly(const std::string& volume);

// The UUID of its store: from its server, if the configuration does not say it.
[[nodiscard]] Result<std::string> UuidOf(const VolumeConfig& config);

// For who only looks, without the volume's lock.  EAGAIN while /var/lib/zumastor is not there.
[[nodiscard]] Result<Records> RecordsOf(const VolumeConfig& config);

// The devices of the volume that device-mapper has.
[[nodiscard]] Result<std::vector<dm::DdsnapDevice>> DevicesOf(const std::string& volume);

// Asks the server of a volume without the volume's lock: to look, not to change.
[[nodiscard]] Result<nlohmann::json> AskVolume(const std::string& name,
                                               const nlohmann::json& request);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_LIVE_VOLUME_H_
