// SPDX-License-Identifier: GPL-2.0
// The configuration of volumes: /etc/zumastor/volumes/NAME.conf, described in
// zumastor.conf(5), and the names that follow from a volume's name.
//
// Thread rule: one thread.
#ifndef DDSNAP_VOLUME_VOLUME_CONFIG_H_
#define DDSNAP_VOLUME_VOLUME_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "volume/ini_file.h"
#include "volume/replication.h"

namespace ddsnap {

// A kind of scheduled snapshots and how many of them are kept.
struct Rotation {
  std::string name;      // "hourly", ..., "custom"
  std::string calendar;  // systemd.time(7)
  uint32_t keep = 0;     // at least 1
  bool operator==(const Rotation&) const = default;
};

struct VolumeConfig {
  std::string name;
  std::string origin;  // devices as they are given: stable names are best
  std::string store;
  std::string metadata;    // empty: in the store
  std::string uuid;        // of the store; empty: not known yet
  bool late = false;       // its devices come up after local file systems
  std::string mountpoint;  // empty: the administrator's affair
  std::string mount_options;
  std::vector<Rotation> rotations;     // in the order hourly to custom
  std::string random_delay;            // of scheduled snapshots; systemd.time(7)
  std::vector<TargetConfig> targets;   // in the order of the file
  std::optional<SourceConfig> source;  // there: this volume is a replica
  std::vector<std::string> warnings;   // "FILE: line N: unknown setting ..."
};

// The sections of a target, and of the source.
[[nodiscard]] std::string TargetSection(std::string_view target);  // "Target NAME"
inline constexpr char kSourceSection[] = "Source";

inline constexpr char kAgentSocket[] = "/run/zumastor/agent";

// "zumastor-NAME", "zumastor-NAME@TAG": in device-mapper.
[[nodiscard]] std::string OriginDmName(std::string_view volume);
[[nodiscard]] std::string SnapshotDmName(std::string_view volume, uint32_t tag);
// The volume that a device-mapper name of either form is of; empty if it is of none.
[[nodiscard]] std::string VolumeOfDmName(std::string_view dm_name);
// "/dev/zumastor/NAME", "/dev/zumastor/NAME@TAG".
[[nodiscard]] std::string OriginPath(std::string_view volume);
[[nodiscard]] std::string SnapshotPath(std::string_view volume, uint32_t tag);
// "/run/zumastor/server/NAME".
[[nodiscard]] std::string ServerSocket(std::string_view volume);

// EINVAL: not 1 to 64 letters, digits, '_', '.' and '-', or not beginning
// with a letter, digit or '_'.  Such names need no quoting anywhere: not in
// units, udev rules, device-mapper or paths.  "by-uuid" is taken: volumes have
// names in /dev/zumastor/by-uuid as well.
[[nodiscard]] Status CheckVolumeName(std::string_view name);

class ConfigFolder {
 public:
  // `root` holds volumes/; normally /etc/zumastor, or $ZUMASTOR_CONFDIR.
  explicit ConfigFolder(std::string root);
  [[nodiscard]] static ConfigFolder Default();

  [[nodiscard]] std::string PathOf(std::string_view volume) const;
  // Sorted; files that are no "NAME.conf" with a good name are left alone.
  [[nodiscard]] Result<std::vector<std::string>> List() const;
  // ENOENT: "NAME: no such volume".
  [[nodiscard]] Result<VolumeConfig> Load(const std::string& volume) const;
  [[nodiscard]] Result<IniFile> LoadFile(const std::string& volume) const;
  // Checks what it would write, and writes it as a whole.
  [[nodiscard]] Status Save(const std::string& volume, const IniFile& file) const;
  [[nodiscard]] Status Remove(const std::string& volume) const;

 private:
  std::string root_;
};

// What the file says; EINVAL with file and line for what cannot be meant.
[[nodiscard]] Result<VolumeConfig> ReadConfig(const std::string& volume, const IniFile& file);

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_VOLUME_CONFIG_H_
