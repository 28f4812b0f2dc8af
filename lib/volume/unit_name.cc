// SPDX-License-Identifier: GPL-2.0
#include "volume/unit_name.h"

#include <cstdio>

namespace ddsnap {
namespace {

bool IsPlain(char c, bool first) {
  if (c == '.') return !first;
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ':' ||
         c == '_';
}

}  // namespace

std::string EscapeUnitPath(std::string_view path) {
  std::string escaped;
  bool slash = false;  // seen, and not yet written: doubled and trailing ones count for nothing
  for (const char c : path) {
    if (c == '/') {
      slash = !escaped.empty();
      continue;
    }
    if (slash) escaped += '-';
    slash = false;
    if (IsPlain(c, escaped.empty())) {
      escaped += c;
      continue;
    }
    char hex[5];
    std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(c));
    escaped += hex;
  }
  return escaped.empty() ? "-" : escaped;
}

}  // namespace ddsnap
