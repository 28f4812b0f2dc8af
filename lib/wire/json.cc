// SPDX-License-Identifier: GPL-2.0
#include "wire/json.h"

#include <cerrno>

namespace ddsnap::wire {

using nlohmann::json;

Result<json> ParseObject(std::span<const std::byte> text) {
  const auto* begin = reinterpret_cast<const char*>(text.data());
  json value = json::parse(begin, begin + text.size(), nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return Fail(EPROTO, "not a JSON object");
  return value;
}

Result<int64_t> GetNumber(const json& object, const char* field, int64_t low, int64_t high) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_number_integer()) {
    return Fail(EINVAL, std::string(field) + ": a number is needed");
  }
  const bool huge = it->is_number_unsigned() && it->get<uint64_t>() > INT64_MAX;
  const int64_t value = huge ? INT64_MAX : it->get<int64_t>();
  if (huge || value < low || value > high) {
    return Fail(EINVAL, std::string(field) + ": " + it->dump() + " is not in " +
                            std::to_string(low) + " .. " + std::to_string(high));
  }
  return value;
}

Result<std::string> GetText(const json& object, const char* field) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_string()) {
    return Fail(EINVAL, std::string(field) + ": a text is needed");
  }
  return it->get<std::string>();
}

void PutReply(FrameWriter& out, const json& reply) {
  const std::string text = reply.dump(-1, ' ', false, json::error_handler_t::replace);
  std::span<const std::byte> rest = std::as_bytes(std::span(text));
  while (rest.size() > kMaxPayload) {
    out.Put(kControlPart, 0, rest.first(kMaxPayload));
    rest = rest.subspan(kMaxPayload);
  }
  out.Put(kControlReply, 0, rest);
}

json ErrorReply(const Error& error) { return {{"error", error.code}, {"text", error.text}}; }

}  // namespace ddsnap::wire
