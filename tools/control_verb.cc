// SPDX-License-Identifier: GPL-2.0
#include "control_verb.h"

#include <cstdio>

#include "wire/control.h"

namespace ddsnap {

Result<nlohmann::json> AskServer(const std::string& socket, const nlohmann::json& request) {
  auto client = ControlClient::Connect(socket);
  if (!client) return Pass(client);
  return client->Call(request);
}

void PrintJson(const nlohmann::json& value) {
  std::printf("%s\n", value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace ddsnap
