// SPDX-License-Identifier: GPL-2.0
// What the verbs that talk to a server share.
#ifndef DDSNAP_TOOLS_CONTROL_VERB_H_
#define DDSNAP_TOOLS_CONTROL_VERB_H_

#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "cli/options.h"

namespace ddsnap {

// Connects to `socket`, asks, and returns the answer.
[[nodiscard]] Result<nlohmann::json> AskServer(const std::string& socket,
                                               const nlohmann::json& request);

// A field of the server's answer; EPROTO if it is not there or of another type.
template <typename T>
[[nodiscard]] Result<T> Field(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  const bool fits = it != object.end() &&
                    (std::is_same_v<T, std::string> ? it->is_string() : it->is_number_integer());
  if (!fits) return Fail(EPROTO, std::string("server's answer has no ") + name);
  return it->template get<T>();
}

// Prints JSON, indented.
void PrintJson(const nlohmann::json& value);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_CONTROL_VERB_H_
