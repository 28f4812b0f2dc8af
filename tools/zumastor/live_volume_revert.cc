// SPDX-License-Identifier: GPL-2.0
// Reverting a live volume, and finishing what a power cut has cut off.
#include <cerrno>

#include "dm/dm.h"
#include "host/mounts.h"
#include "live_volume.h"
#include "report.h"
#include "service_manager.h"
#include "snapshot_mounts.h"
#include "volume/unit_name.h"

namespace ddsnap {

std::string LiveVolume::RevertDmName() const { return OriginDmName(name()) + "@revert"; }

Result<Reverted> LiveVolume::RevertHidden(Tag tag, const RevertProgress& progress) const {
  // What somebody has looked at is still mounted; what is in use refuses.
  if (Status s = UnmountSnapshot(*this, tag); !s) return Pass(s);
  RevertRequest request;
  request.socket = ServerSocket(name());
  request.tag = tag;
  request.own = RevertDmName();
  request.no_other_origin = true;
  request.progress = progress;
  auto reverted = RevertOrigin(request);
  if (!reverted) return Fail(reverted.error().code, name() + ": " + reverted.error().text);
  return reverted;
}

// The store knows what was under way.  Until it is over there is no /dev/zumastor/NAME.
Status LiveVolume::FinishRevert() const {
  auto status = Ask({{"verb", "status"}});
  if (!status) return Pass(status);
  const auto tag = RevertUnderWay(*status);
  if (!tag) return {};
  const std::string text = "finishing the revert to snapshot " + std::to_string(*tag);
  auto reverted = RevertHidden(*tag, [&](uint64_t done, uint64_t total) {
    TellProgress(text + ": " + std::to_string(total == 0 ? 100 : 100 * done / total) + " %");
  });
  TellProgress("");
  if (reverted) return {};
  return Fail(reverted.error().code, reverted.error().text +
                                         " (a revert to it was cut off: zumastor revert " + name() +
                                         " TAG again, or --cancel)");
}

Result<Reverted> LiveVolume::Revert(Tag tag, const RevertProgress& progress) {
  auto up = IsUp();
  if (!up) return Pass(up);
  auto answer = Ask({{"verb", "size"}, {"tag", tag}});  // and it is there
  if (!answer) return Pass(answer);
  if (Status s = HideReplica(*this); !s) return Pass(s);
  const std::string origin = OriginDmName(name());
  if (*up) {
    auto use = DescribeUse("/dev/mapper/" + origin);
    if (!use) return Pass(use);
    if (!use->empty()) return Fail(EBUSY, OriginPath(name()) + ": " + *use);
    Status s = dm::RemoveDevice(origin);
    if (!s)
      return Fail(s.error().code, OriginPath(name()) + ": in use by a program that has it open");
  }
  const bool active = *up || UnitProperty(VolumeUnit(name()), "ActiveState") == "active";
  auto reverted = RevertHidden(tag, progress);
  if (!active) {  // nobody else needs the server that this has started
    if (Status s = StopServer(); !s && reverted) return Pass(s);
    return reverted;
  }
  // Also after a failure that came before anything was changed.
  auto status = Ask({{"verb", "status"}});
  if (status && !RevertUnderWay(*status)) {
    Status s = AttachOrigin();
    if (!s && reverted) return Pass(s);
  }
  if (auto snapshots = Snapshots()) {
    Status s = SyncSnapshotMounts(*this, *snapshots);
    if (s) s = ShowReplica(*this, /*wait=*/true);
    if (!s) Warn(s.error().text);
  }
  return reverted;
}

Status LiveVolume::CancelRevert() {
  if (Status s = ddsnap::CancelRevert(ServerSocket(name())); !s)
    return Fail(s.error().code, name() + ": " + s.error().text);
  // Its unit has stayed active when it was up before.
  return UnitProperty(VolumeUnit(name()), "ActiveState") == "active" ? AttachOrigin() : Status();
}

}  // namespace ddsnap
