// SPDX-License-Identifier: GPL-2.0
// The user tools' side of the server socket: one JSON object asks, one answers
// (frames kControlRequest and kControlReply); a changelist comes as frames of
// ranges before its answer.  The verbs and their fields: doc/protocol.md.
//
// Thread rule: one thread.  Calls block until the answer is there.
#ifndef DDSNAP_WIRE_CONTROL_H_
#define DDSNAP_WIRE_CONTROL_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/chunk.h"
#include "base/fd.h"
#include "base/status.h"

namespace ddsnap {

class ControlClient {
 public:
  // Connects to a server socket; "@name" is an abstract one.
  [[nodiscard]] static Result<ControlClient> Connect(const std::string& path);

  // Sends {"verb": ..., ...} and returns the answer.  A refusal by the server
  // {"error": ERRNO, "text": WHY} comes back as an Error.
  [[nodiscard]] Result<nlohmann::json> Call(const nlohmann::json& request);

  // The same for verbs that stream ranges first; `sink` gets them in order.
  [[nodiscard]] Result<nlohmann::json> Call(const nlohmann::json& request,
                                            const std::function<Status(const ChunkRange&)>& sink);

 private:
  explicit ControlClient(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace ddsnap

#endif  // DDSNAP_WIRE_CONTROL_H_
