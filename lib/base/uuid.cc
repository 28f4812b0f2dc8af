// SPDX-License-Identifier: GPL-2.0
#include "base/uuid.h"

#include <cerrno>
#include <fstream>
#include <string_view>

namespace ddsnap {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

bool DashBefore(size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

}  // namespace

std::string FormatUuid(const Uuid& uuid) {
  std::string text;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (DashBefore(i)) text += '-';
    text += kHex[uuid[i] >> 4];
    text += kHex[uuid[i] & 15];
  }
  return text;
}

Result<Uuid> ParseUuid(const std::string& text) {
  Uuid uuid{};
  size_t at = 0;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (DashBefore(i) && (at >= text.size() || text[at++] != '-')) {
      return Fail(EINVAL, text + ": not a UUID");
    }
    for (int half = 0; half < 2; ++half) {
      const char c = at < text.size() ? text[at++] : '?';
      const size_t digit = kHex.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
      if (digit == std::string_view::npos) return Fail(EINVAL, text + ": not a UUID");
      uuid[i] = static_cast<uint8_t>(uuid[i] << 4 | digit);
    }
  }
  if (at != text.size()) return Fail(EINVAL, text + ": not a UUID");
  return uuid;
}

Result<Uuid> ReadBootId() {
  static constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kPath);
  std::string text;
  if (!std::getline(file, text)) return Fail(EIO, std::string(kPath) + ": cannot be read");
  return ParseUuid(text);
}

}  // namespace ddsnap
