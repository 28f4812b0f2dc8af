// SPDX-License-Identifier: GPL-2.0
#include "cli/options.h"

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace ddsnap {
namespace {

constexpr std::string_view kUnits = "KMGTPE";

// Parses the whole of `text` as an unsigned decimal number.
template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

template <typename T, typename Parse>
Argument AddParsed(Arguments& args, const std::string& name, T* value, const std::string& help,
                   const char* type, Parse parse) {
  Argument argument = args.AddParsed(
      name,
      [value, parse](const std::string& text) -> Status {
        auto parsed = parse(text);
        if (!parsed) return Pass(parsed);
        *value = *parsed;
        return {};
      },
      help);
  return argument.TypeName(type);
}

}  // namespace

Result<uint64_t> ParseSize(const std::string& text) {
  std::string_view number = text;
  unsigned shift = 0;
  if (!number.empty()) {
    const size_t unit = kUnits.find(static_cast<char>(std::toupper(number.back())));
    if (unit != std::string_view::npos) {
      shift = 10 * static_cast<unsigned>(unit + 1);
      number.remove_suffix(1);
    }
  }
  uint64_t value = 0;
  if (!ParseNumber(number, &value)) return Fail(EINVAL, text + ": not a size such as 16K or 2G");
  if (value > (UINT64_MAX >> shift)) return Fail(ERANGE, text + ": too large");
  return value << shift;
}

Result<Tag> ParseTag(const std::string& text) {
  Tag tag = 0;
  if (!ParseNumber(text, &tag) || tag > kMaxTag) {
    return Fail(EINVAL, text + ": not a tag (0 to 4294967294)");
  }
  return tag;
}

std::string FormatSize(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (value /= 1024; value >= 1024 && unit + 1 < kUnits.size(); value /= 1024) ++unit;
  char text[32];
  const bool whole = value == static_cast<double>(static_cast<uint64_t>(value));
  std::snprintf(text, sizeof text, whole ? "%.0f%c" : "%.1f%c", value, kUnits[unit]);
  return text;
}

Argument AddSize(Arguments& args, const std::string& name, uint64_t* value,
                 const std::string& help) {
  return AddParsed(args, name, value, help, "SIZE", ParseSize);
}

Argument AddTag(Arguments& args, const std::string& name, Tag* value, const std::string& help) {
  return AddParsed(args, name, value, help, "NUMBER", ParseTag);
}

Argument AddTag(Arguments& args, const std::string& name, std::optional<Tag>* value,
                const std::string& help) {
  return AddParsed(args, name, value, help, "NUMBER", ParseTag);
}

Argument AddJson(Arguments& args, bool* json) {
  return args.AddFlag("--json", json, "print JSON");
}

}  // namespace ddsnap
