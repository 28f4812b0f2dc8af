// SPDX-License-Identifier: GPL-2.0
#include "volume/volume_config.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/uuid.h"

namespace ddsnap {
namespace {

constexpr std::string_view kSuffix = ".conf";
constexpr size_t kMaxName = 64;
constexpr uint32_t kMaxKeep = 10000;
constexpr std::string_view kTarget = "Target ";  // begins a section's name

// The schedules that have names, and when they run.
struct NamedRotation {
  const char* key;
  const char* name;
};
constexpr NamedRotation kRotations[] = {
    {"Hourly", "hourly"}, {"Daily", "daily"}, {"Weekly", "weekly"}, {"Monthly", "monthly"}};

std::optional<uint32_t> ParseKeep(std::string_view text) {
  uint32_t keep = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), keep);
  if (error != std::errc() || end != text.data() + text.size() || keep > kMaxKeep)
    return std::nullopt;
  return keep;
}

// "ONCALENDAR,N": the calendar may have commas of its own.
std::optional<Rotation> ParseCustom(std::string_view text) {
  const size_t comma = text.rfind(',');
  if (comma == std::string_view::npos || comma == 0) return std::nullopt;
  const auto keep = ParseKeep(text.substr(comma + 1));
  if (!keep || *keep == 0) return std::nullopt;
  return Rotation{"custom", std::string(text.substr(0, comma)), *keep};
}

// "10M": powers of 1024.  Empty: no limit.
std::optional<uint64_t> ParseRate(std::string_view text) {
  if (text.empty()) return 0;
  uint64_t rate = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rate);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (error != std::errc() || suffix.size() > 1) return std::nullopt;
  constexpr std::string_view kSuffixes = "KMGTkmgt";
  const size_t which = suffix.empty() ? 0 : kSuffixes.find(suffix);
  if (which == std::string_view::npos) return std::nullopt;
  const unsigned shift = suffix.empty() ? 0 : 10 * (which % 4 + 1);
  return rate > UINT64_MAX >> shift ? std::nullopt : std::optional(rate << shift);
}

bool IsAbsolute(const std::string& path) { return path.starts_with('/'); }

// As the kernel has it in its table of mounts, with which it is compared: no slash at the end, and
// never two in a row.
std::string WithoutExtraSlashes(std::string path) {
  const auto doubled =
      std::ranges::unique(path, [](char a, char b) { return a == '/' && b == '/'; });
  path.erase(doubled.begin(), doubled.end());
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

// Takes one assignment; why it cannot be meant, or nullptr.
class Assigner {
 public:
  explicit Assigner(VolumeConfig& config) : config_(config) {}

  const char* Take(const IniFile::Entry& entry, bool* known) {
    *known = true;
    if (entry.section == "Volume") return TakeVolume(entry, known);
    if (entry.section == "Mount") return TakeMount(entry, known);
    if (entry.section == "Schedule") return TakeSchedule(entry, known);
    if (entry.section == kSourceSection) return TakeSource(entry, known);
    if (entry.section.starts_with(kTarget)) return TakeTarget(entry, known);
    *known = false;
    return nullptr;
  }

 private:
  const char* TakeVolume(const IniFile::Entry& entry, bool* known) {
    if (entry.key == "UUID") {
      auto uuid = ParseUuid(entry.value);
      if (!uuid && !entry.value.empty()) return "a UUID";
      config_.uuid = uuid ? FormatUuid(*uuid) : "";
      return nullptr;
    }
    if (entry.key == "Late") {
      config_.late = entry.value == "yes" || entry.value == "true" || entry.value == "1";
      const bool no = entry.value == "no" || entry.value == "false" || entry.value == "0";
      return config_.late || no ? nullptr : "yes or no";
    }
    std::string* device = entry.key == "Origin"     ? &config_.origin
                          : entry.key == "Store"    ? &config_.store
                          : entry.key == "Metadata" ? &config_.metadata
                                                    : nullptr;
    if (device == nullptr) {
      *known = false;
      return nullptr;
    }
    *device = entry.value;
    return device->empty() || IsAbsolute(*device) ? nullptr : "a device is named by its whole path";
  }

  const char* TakeMount(const IniFile::Entry& entry, bool* known) {
    if (entry.key == "MountPoint") {
      config_.mountpoint = WithoutExtraSlashes(entry.value);
      return entry.value.empty() || IsAbsolute(entry.value) ? nullptr
                                                            : "a mount point is a whole path";
    }
    if (entry.key == "Options") {
      config_.mount_options = entry.value;
    } else {
      *known = false;
    }
    return nullptr;
  }

  const char* TakeSchedule(const IniFile::Entry& entry, bool* known) {
    for (const NamedRotation& named : kRotations) {
      if (entry.key != named.key) continue;
      const auto keep = ParseKeep(entry.value);
      if (!keep) return "a number of snapshots to keep, 0 to 10000";
      std::erase_if(config_.rotations, [&](const Rotation& r) { return r.name == named.name; });
      if (*keep > 0) config_.rotations.push_back({named.name, named.name, *keep});
      return nullptr;
    }
    if (entry.key == "Custom") {
      std::erase_if(config_.rotations, [](const Rotation& r) { return r.name == "custom"; });
      if (entry.value.empty()) return nullptr;
      auto custom = ParseCustom(entry.value);
      if (!custom) return "ONCALENDAR,N with N from 1 to 10000";
      config_.rotations.push_back(*custom);
    } else if (entry.key == "RandomizedDelaySec") {
      config_.random_delay = entry.value;
    } else {
      *known = false;
    }
    return nullptr;
  }

  const char* TakeTarget(const IniFile::Entry& entry, bool* known) {
    const std::string name = entry.section.substr(kTarget.size());
    if (!CheckTargetName(name)) return "its section names no target";
    auto target = std::ranges::find(config_.targets, name, &TargetConfig::name);
    if (target == config_.targets.end()) target = config_.targets.insert(target, {name, "", 0});
    if (entry.key == "Period") {
      target->period = entry.value;
    } else if (entry.key == "RateLimit") {
      const auto rate = ParseRate(entry.value);
      if (!rate) return "bytes a second, with K, M, G or T";
      target->rate_limit = *rate;
    } else {
      *known = false;
    }
    return nullptr;
  }

  const char* TakeSource(const IniFile::Entry& entry, bool* known) {
    if (!config_.source) config_.source.emplace();
    if (entry.key == "Host") {
      config_.source->name = entry.value;
      return ParseRemote(entry.value) ? nullptr : "[USER@]HOST[:VOLUME]";
    }
    if (entry.key == "Period") {
      config_.source->period = entry.value;
    } else if (entry.key == "Keep") {
      const auto keep = ParseKeep(entry.value);
      if (!keep || *keep == 0) return "a number of snapshots to keep, 1 to 10000";
      config_.source->keep = *keep;
    } else {
      *known = false;
    }
    return nullptr;
  }

  VolumeConfig& config_;
};

// A target needs no settings: its section may hold none.
Status AddBareSections(const IniFile& file, VolumeConfig* config) {
  for (const std::string& section : file.sections()) {
    if (!section.starts_with(kTarget)) continue;
    const std::string name = section.substr(kTarget.size());
    if (Status s = CheckTargetName(name); !s)
      return Fail(EINVAL, file.name() + ": " + s.error().text);
    if (std::ranges::find(config->targets, name, &TargetConfig::name) == config->targets.end())
      config->targets.push_back({name, "", 0});
  }
  return {};
}

size_t RankOf(const Rotation& rotation) {
  size_t rank = 0;
  for (const NamedRotation& named : kRotations) {
    if (rotation.name == named.name) break;
    ++rank;
  }
  return rank;
}

}  // namespace

std::string TargetSection(std::string_view target) {
  return std::string(kTarget) + std::string(target);
}

std::string OriginDmName(std::string_view volume) { return "zumastor-" + std::string(volume); }

std::string SnapshotDmName(std::string_view volume, uint32_t tag) {
  return OriginDmName(volume) + "@" + std::to_string(tag);
}

std::string VolumeOfDmName(std::string_view dm_name) {
  const std::string prefix = OriginDmName("");
  if (!dm_name.starts_with(prefix)) return {};
  dm_name.remove_prefix(prefix.size());
  const std::string_view volume = dm_name.substr(0, dm_name.find('@'));
  return CheckVolumeName(volume) ? std::string(volume) : std::string();
}

std::string OriginPath(std::string_view volume) { return "/dev/zumastor/" + std::string(volume); }

std::string SnapshotPath(std::string_view volume, uint32_t tag) {
  return OriginPath(volume) + "@" + std::to_string(tag);
}

std::string ServerSocket(std::string_view volume) {
  return "/run/zumastor/server/" + std::string(volume);
}

Status CheckVolumeName(std::string_view name) {
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  const bool good = !name.empty() && name != "by-uuid" && name.size() <= kMaxName &&
                    kLetters.find(name.front()) != std::string_view::npos &&
                    std::ranges::all_of(name, [](char c) {
                      return c == '.' || c == '-' || kLetters.find(c) != std::string_view::npos;
                    });
  if (good) return {};
  return Fail(EINVAL, "\"" + std::string(name.substr(0, kMaxName)) +
                          "\": a volume's name is 1 to 64 letters, digits, '_', '.' and '-', "
                          "and does not begin with '.' or '-'");
}

Result<VolumeConfig> ReadConfig(const std::string& volume, const IniFile& file) {
  if (Status s = CheckVolumeName(volume); !s) return Pass(s);
  VolumeConfig config;
  config.name = volume;
  Assigner assigner(config);
  for (const IniFile::Entry& entry : file.entries()) {
    const std::string where = file.name() + ": line " + std::to_string(entry.line) + ": ";
    bool known = false;
    if (const char* why = assigner.Take(entry, &known); why != nullptr)
      return Fail(EINVAL, where + entry.key + ": " + why);
    if (!known)
      config.warnings.push_back(where + "unknown setting " + entry.key + " in [" + entry.section +
                                "]");
  }
  if (config.origin.empty()) return Fail(EINVAL, file.name() + ": no Origin in [Volume]");
  if (config.store.empty()) return Fail(EINVAL, file.name() + ": no Store in [Volume]");
  if (Status s = AddBareSections(file, &config); !s) return Pass(s);
  if (config.source && config.source->name.empty())
    return Fail(EINVAL, file.name() + ": no Host in [Source]");
  if (config.source && !config.rotations.empty())
    return Fail(EINVAL, file.name() + ": a replica, which has a [Source], has no [Schedule]: its " +
                            "snapshots are those that it receives");
  std::ranges::sort(config.rotations, {}, RankOf);
  return config;
}

// ---- the folder

ConfigFolder::ConfigFolder(std::string root) : root_(std::move(root)) {}

ConfigFolder ConfigFolder::Default() {
  const char* root = ::secure_getenv("ZUMASTOR_CONFDIR");
  return ConfigFolder(root != nullptr ? root : "/etc/zumastor");
}

std::string ConfigFolder::PathOf(std::string_view volume) const {
  return root_ + "/volumes/" + std::string(volume) + std::string(kSuffix);
}

Result<std::vector<std::string>> ConfigFolder::List() const {
  std::vector<std::string> names;
  const std::string folder = root_ + "/volumes";
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) {
    if (errno == ENOENT) return names;
    return FailErrno(errno, folder);
  }
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view file = entry->d_name;
    if (!file.ends_with(kSuffix)) continue;
    const std::string_view name = file.substr(0, file.size() - kSuffix.size());
    if (CheckVolumeName(name)) names.emplace_back(name);
  }
  ::closedir(dir);
  std::ranges::sort(names);
  return names;
}

Result<IniFile> ConfigFolder::LoadFile(const std::string& volume) const {
  if (Status s = CheckVolumeName(volume); !s) return Pass(s);
  auto file = IniFile::Read(PathOf(volume));
  if (!file && file.error().code == ENOENT) return Fail(ENOENT, volume + ": no such volume");
  return file;
}

Result<VolumeConfig> ConfigFolder::Load(const std::string& volume) const {
  auto file = LoadFile(volume);
  if (!file) return Pass(file);
  return ReadConfig(volume, *file);
}

Status ConfigFolder::Save(const std::string& volume, const IniFile& file) const {
  if (auto config = ReadConfig(volume, file); !config) return Pass(config);
  const std::string folder = root_ + "/volumes";
  for (const std::string& path : {root_, folder})
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FailErrno(errno, path);
  return WriteWholeFile(PathOf(volume), file.text());
}

Status ConfigFolder::Remove(const std::string& volume) const {
  if (Status s = CheckVolumeName(volume); !s) return s;
  if (::unlink(PathOf(volume).c_str()) == 0) return {};
  if (errno == ENOENT) return Fail(ENOENT, volume + ": no such volume");
  return FailErrno(errno, PathOf(volume));
}

}  // namespace ddsnap
