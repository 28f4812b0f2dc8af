// SPDX-License-Identifier: GPL-2.0
#include "volume/rotation.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <tuple>

namespace ddsnap {
namespace {

// What distinguishes the periods: two moments of one period give the same.
std::tuple<int, int, int> PeriodOf(const std::string& rotation, time_t moment) {
  tm parts{};
  if (::localtime_r(&moment, &parts) == nullptr) return {};
  if (rotation == "hourly") {
    // The hour that winter time repeats is two: count them by UTC.
    return {static_cast<int>((moment + parts.tm_gmtoff) / 3600), parts.tm_isdst, 0};
  }
  if (rotation == "daily") return {parts.tm_year, parts.tm_yday, 0};
  if (rotation == "monthly") return {parts.tm_year, parts.tm_mon, 0};
  // The Monday of the week, as a day counted from the epoch.
  const int64_t day = (moment + parts.tm_gmtoff) / 86400;
  return {static_cast<int>(day - (parts.tm_wday + 6) % 7), 0, 0};
}

}  // namespace

bool LiesAhead(time_t last, time_t now) {
  constexpr time_t kHour = 3600;
  return last - now > kHour;
}

bool IsDue(const std::string& rotation, std::optional<time_t> last, time_t now) {
  if (!last || LiesAhead(*last, now)) return true;
  return now > *last && PeriodOf(rotation, *last) != PeriodOf(rotation, now);
}

std::vector<Rotation> KeptRotations(const VolumeConfig& config, const Records& records) {
  std::vector<Rotation> kept = config.rotations;
  const bool sends = !config.targets.empty() || !records.targets.empty();
  kept.push_back({kReplicaRotation, "", sends ? 1U : 0U});
  // What a volume has received stays when it becomes one of its own.
  if (config.source) kept.push_back({kReceivedRotation, "", config.source->keep});
  return kept;
}

bool MayBeBookmark(const Records& records, Tag tag, time_t now) {
  constexpr time_t kDay = 86400;
  bool needed = false;
  for (const auto& [name, peer] : records.targets) {
    if (peer.sending == tag) return false;
    if (peer.held != tag) continue;
    needed = true;
    if (FolderOfTarget(name) || now - peer.last_success < kDay) return false;
  }
  return needed && records.source.held != tag;
}

std::vector<Tag> Expire(const Rotation& rotation, const std::vector<Tag>& usable,
                        Records* records) {
  std::vector<Tag> expired;
  uint32_t kept = 0;
  for (const Tag tag : usable | std::views::reverse) {
    auto record = records->snapshots.find(tag);
    if (record == records->snapshots.end()) continue;
    auto& rotations = record->second.rotations;
    const auto mine = std::ranges::find(rotations, rotation.name);
    if (mine == rotations.end() || ++kept <= rotation.keep) continue;
    rotations.erase(mine);
    if (rotations.empty()) expired.push_back(tag);
  }
  std::ranges::reverse(expired);  // the oldest goes first
  return expired;
}

std::vector<std::pair<std::string, Tag>> RotationLinks(const std::vector<Tag>& usable,
                                                       const Records& records) {
  std::vector<std::pair<std::string, Tag>> links;
  std::map<std::string, int> count;
  for (const Tag tag : usable | std::views::reverse) {
    const auto record = records.snapshots.find(tag);
    if (record == records.snapshots.end()) continue;
    for (const std::string& rotation : record->second.rotations)
      links.emplace_back(rotation + "." + std::to_string(count[rotation]++), tag);
  }
  return links;
}

}  // namespace ddsnap
