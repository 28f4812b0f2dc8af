// SPDX-License-Identifier: GPL-2.0
#include "volume/replication.h"

#include <algorithm>
#include <cerrno>

#include "volume/unit_name.h"
#include "volume/volume_config.h"

namespace ddsnap {
namespace {

constexpr std::string_view kFile = "file:";
constexpr size_t kMaxTarget = 255;
constexpr size_t kMaxEscaped = 160;

// What needs no quoting: it becomes a word of a command.
bool IsPlain(std::string_view text, std::string_view besides) {
  return !text.empty() && text.front() != '-' && std::ranges::all_of(text, [&](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || c == '.' || c == '-' || c == '_' || besides.find(c) != std::string_view::npos;
  });
}

}  // namespace

Result<RemoteVolume> ParseRemote(std::string_view text) {
  const auto bad = [&] {
    return Fail(EINVAL,
                "\"" + std::string(text.substr(0, kMaxTarget)) + "\": is not [USER@]HOST[:VOLUME]");
  };
  if (text.size() > kMaxTarget) return bad();
  std::string_view rest = text;
  std::string user;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    if (!IsPlain(rest.substr(0, at), "")) return bad();
    user = rest.substr(0, at + 1);
    rest.remove_prefix(at + 1);
  }
  const bool bracketed = rest.starts_with('[');
  const size_t end = bracketed ? rest.find(']') : rest.find(':');
  if (bracketed && end == std::string_view::npos) return bad();
  const std::string_view host = rest.substr(bracketed ? 1 : 0, bracketed ? end - 1 : end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + (bracketed ? 1 : 0));
  if (!IsPlain(host, bracketed ? ":%" : "")) return bad();
  RemoteVolume remote{user + std::string(host), ""};
  if (rest.empty()) return remote;
  if (rest.front() != ':') return bad();
  remote.volume = rest.substr(1);
  if (Status s = CheckVolumeName(remote.volume); !s) return Pass(s);
  return remote;
}

std::optional<std::string> FolderOfTarget(std::string_view name) {
  if (!name.starts_with(kFile)) return std::nullopt;
  return std::string(name.substr(kFile.size()));
}

Status CheckTargetName(std::string_view name) {
  // Files are named after it.
  if (EscapeUnitPath(name).size() > kMaxEscaped)
    return Fail(EINVAL, "\"" + std::string(name.substr(0, kMaxTarget)) + "\": is too long");
  auto folder = FolderOfTarget(name);
  if (!folder) {
    auto remote = ParseRemote(name);
    return remote ? Status() : Status(std::unexpected(remote.error()));
  }
  const bool good = folder->starts_with('/') && folder->size() <= kMaxTarget &&
                    std::ranges::all_of(*folder, [](unsigned char c) {
                      return c >= ' ' && c < 0x7f && c != ']' && c != '\\';
                    });
  if (good) return {};
  return Fail(EINVAL, "\"" + std::string(name.substr(0, kMaxTarget)) +
                          "\": a folder is named by its whole path, in plain letters");
}

}  // namespace ddsnap
