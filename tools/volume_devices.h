// SPDX-License-Identifier: GPL-2.0
// The device-mapper devices of a server's volume, by whatever names they have.
#ifndef DDSNAP_TOOLS_VOLUME_DEVICES_H_
#define DDSNAP_TOOLS_VOLUME_DEVICES_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/fd.h"
#include "base/status.h"
#include "dm/dm.h"

namespace ddsnap {

// Asks the volume's server.
using Asker = std::function<Result<nlohmann::json>(const nlohmann::json&)>;

class VolumeDevices {
 public:
  // `own`: what devices that this object makes are called, with an end of their own.
  // Such a device that an earlier run has left behind is removed first.
  [[nodiscard]] static Result<VolumeDevices> Find(const Asker& ask, const std::string& own);
  VolumeDevices(VolumeDevices&&) = default;
  VolumeDevices& operator=(VolumeDevices&&) = delete;
  ~VolumeDevices();  // removes what it made

  // One of the devices that show the same, and the others, which nobody can mount meanwhile.
  struct Unused {
    std::string path;
    std::vector<Fd> others;
  };
  // Of those that show the origin; one that nobody is told of is made if none is large enough.
  // EBUSY if somebody has one of them open.  `sectors`: how large it must be.
  [[nodiscard]] Result<Unused> UnusedOrigin(uint64_t sectors);
  // The same of a snapshot's.
  [[nodiscard]] Result<Unused> UnusedSnapshot(Tag tag, uint64_t sectors);
  // Path of a device of the origin that may be in use.
  [[nodiscard]] Result<std::string> Origin(uint64_t sectors);

  void RemoveMade();  // what this object has made, before its time

  // All that show the origin, without what this object has made.
  [[nodiscard]] std::vector<dm::DdsnapDevice> Origins() const;

 private:
  VolumeDevices() = default;
  [[nodiscard]] Result<Unused> Take(const std::string& tag, uint64_t sectors);
  [[nodiscard]] Result<std::string> Make(const std::string& tag, uint64_t sectors);

  std::string own_;
  std::string params_;  // of a table, up to the tag
  std::vector<dm::DdsnapDevice> devices_;
  std::vector<std::string> made_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_VOLUME_DEVICES_H_
