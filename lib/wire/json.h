// SPDX-License-Identifier: GPL-2.0
// JSON from a peer: fields that may be absent, of another type or out of range.
#ifndef DDSNAP_WIRE_JSON_H_
#define DDSNAP_WIRE_JSON_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "base/status.h"
#include "wire/frame.h"

namespace ddsnap::wire {

// One JSON object.  EPROTO for anything else.
[[nodiscard]] Result<nlohmann::json> ParseObject(std::span<const std::byte> text);

// A number field in [low, high]: EINVAL if it is absent, no integer or outside.
[[nodiscard]] Result<int64_t> GetNumber(const nlohmann::json& object, const char* field,
                                        int64_t low, int64_t high);

// A text field: EINVAL if it is absent or no text.
[[nodiscard]] Result<std::string> GetText(const nlohmann::json& object, const char* field);

// kControlPart frames as needed, then kControlReply.
void PutReply(FrameWriter& out, const nlohmann::json& reply);

// {"error": code, "text": text}
[[nodiscard]] nlohmann::json ErrorReply(const Error& error);

}  // namespace ddsnap::wire

#endif  // DDSNAP_WIRE_JSON_H_
