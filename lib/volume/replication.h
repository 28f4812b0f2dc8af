// SPDX-License-Identifier: GPL-2.0
// Where a volume is replicated to, and where it comes from: the sections [Target ...] and
// [Source] of its configuration, described in zumastor.conf(5).
//
// Thread rule: pure functions.
#ifndef DDSNAP_VOLUME_REPLICATION_H_
#define DDSNAP_VOLUME_REPLICATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace ddsnap {

// A volume of another host, as ssh(1) reaches it.
struct RemoteVolume {
  std::string host;    // "backup", "root@backup", "root@::1"
  std::string volume;  // empty: of the same name
  bool operator==(const RemoteVolume&) const = default;
};

// "[USER@]HOST[:VOLUME]"; a host with colons stands in brackets.  EINVAL: it is none, or begins
// with a dash, as only an option of ssh's would.
[[nodiscard]] Result<RemoteVolume> ParseRemote(std::string_view text);

struct TargetConfig {
  std::string name;         // as it was defined: "[USER@]HOST[:VOLUME]", "file:DIR"
  std::string period;       // systemd.time(7); empty: by hand alone
  uint64_t rate_limit = 0;  // bytes a second; 0: none
  bool operator==(const TargetConfig&) const = default;
};

struct SourceConfig {
  std::string name;    // "[USER@]HOST[:VOLUME]"
  std::string period;  // when this side asks for what is new; empty: it waits to be sent it
  uint32_t keep = 8;   // received snapshots that are kept, at least 1
  bool operator==(const SourceConfig&) const = default;
};

// The folder of a target "file:DIR"; none: it is another host's volume.
[[nodiscard]] std::optional<std::string> FolderOfTarget(std::string_view name);

// EINVAL: neither a remote volume nor "file:" and a whole path.
[[nodiscard]] Status CheckTargetName(std::string_view name);

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_REPLICATION_H_
