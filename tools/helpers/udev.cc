// SPDX-License-Identifier: GPL-2.0
// zumastor-udev: what our udev rules ask.  Each answer is lines KEY=VALUE, or a
// line of words; nothing where there is nothing to say.
//
//   name DM_NAME DM_UUID    of our device-mapper devices: ZUMASTOR_VOLUME, ZUMASTOR_UUID,
//                           and of snapshots ZUMASTOR_TAG
//   member DEVNODE LINK...  ZUMASTOR_MEMBER_OF and ZUMASTOR_ROLE (origin, store, metadata)
//                           of a device that a volume is configured to be made of
//   links LINK...           the links that do not follow from a device's contents
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/uuid.h"
#include "cli/options.h"
#include "host/device_names.h"
#include "volume/volume_config.h"

using namespace ddsnap;

namespace {

constexpr std::string_view kNamePrefix = "zumastor-";
constexpr std::string_view kUuidPrefix = "ZUMASTOR-";

// The UUID's part after '@', which must be the name's as well.
int Name(std::string_view dm_name, std::string_view dm_uuid) {
  if (!dm_name.starts_with(kNamePrefix) || !dm_uuid.starts_with(kUuidPrefix)) return 1;
  dm_name.remove_prefix(kNamePrefix.size());
  dm_uuid.remove_prefix(kUuidPrefix.size());
  std::string tag;
  if (const size_t at = dm_uuid.find('@'); at != std::string_view::npos) {
    tag = dm_uuid.substr(at + 1);
    if (!ParseTag(tag) || !dm_name.ends_with("@" + tag)) return 1;
    dm_uuid = dm_uuid.substr(0, at);
    dm_name.remove_suffix(tag.size() + 1);
  }
  const std::string volume(dm_name), uuid(dm_uuid);
  if (!CheckVolumeName(volume) || !ParseUuid(uuid)) return 1;
  std::printf("ZUMASTOR_VOLUME=%s\nZUMASTOR_UUID=%s\n", volume.c_str(), uuid.c_str());
  if (!tag.empty()) std::printf("ZUMASTOR_TAG=%s\n", tag.c_str());
  return 0;
}

int Member(const std::vector<std::string>& names) {
  const ConfigFolder configs = ConfigFolder::Default();
  auto volumes = configs.List();
  if (!volumes) return 1;
  for (const std::string& volume : *volumes) {
    auto config = configs.Load(volume);
    if (!config) continue;
    const std::pair<const char*, std::string> roles[] = {
        {"origin", config->origin}, {"store", config->store}, {"metadata", config->metadata}};
    for (const auto& [role, path] : roles)
      for (const std::string& name : names)
        if (!path.empty() && (path == name || path == "/dev/" + name)) {
          std::printf("ZUMASTOR_MEMBER_OF=%s\nZUMASTOR_ROLE=%s\n", volume.c_str(), role);
          return 0;
        }
  }
  return 0;
}

int Links(const std::vector<std::string>& links) {
  std::string line;
  for (const std::string& link : links)
    if (!IsContentName(link)) line += (line.empty() ? "" : " ") + link;
  std::printf("%s\n", line.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return 2;
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (words[0] == "name" && rest.size() == 2) return Name(rest[0], rest[1]);
  if (words[0] == "member") return Member(rest);
  if (words[0] == "links") return Links(rest);
  std::fprintf(stderr, "zumastor-udev: usage: name DM_NAME DM_UUID | member NAME... | links LINK...\n");
  return 2;
}
