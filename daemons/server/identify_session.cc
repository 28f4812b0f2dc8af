// SPDX-License-Identifier: GPL-2.0
#include "identify_session.h"

#include <bit>
#include <cerrno>

#include "server.h"

namespace ddsnap::server {

Status IdentifySession::OnFrame(const wire::Frame& frame) {
  if (frame.type != wire::Identify::kType) return Fail(EPROTO, "not an IDENTIFY");
  auto answer = Answer(wire::Get<wire::Identify>(frame));
  if (answer) {
    wire::Put(session_.held(), *answer);
  } else {
    wire::Put(session_.held(), wire::Refused{answer.error().code, answer.error().text});
  }
  server_.ScheduleTurn();
  return {};
}

Result<wire::Identified> IdentifySession::Answer(const wire::Identify& request) const {
  SnapStore& store = server_.store();
  if (request.devices != server_.volume().devices()) {
    return Fail(EXDEV, "server is of other devices");
  }
  wire::Identified answer;
  answer.uuid = store.uuid();
  answer.chunk_shift = static_cast<uint32_t>(std::countr_zero(store.chunk_size() / 512));
  uint64_t size = store.origin_size();
  if (request.tag != wire::kTagOrigin) {
    const std::string name = "snapshot " + std::to_string(request.tag);
    const Snapshot* snapshot = store.Find(request.tag);
    if (snapshot == nullptr) return Fail(ENOENT, name + ": does not exist");
    if (!snapshot->is_base() || server_.abandoned()) return Fail(ESTALE, name + ": was given up");
    if (snapshot->state != Snapshot::State::kOk) {
      return Fail(ESTALE, name + ": is a bookmark, without contents");
    }
    answer.epoch = snapshot->epoch;
    size = snapshot->size;
  }
  answer.sectors = size / 512;
  // An origin's table may be its beginning alone: so it is before the origin becomes smaller.
  const bool fits = request.tag == wire::kTagOrigin ? request.sectors <= answer.sectors
                                                    : request.sectors == answer.sectors;
  if (!fits || request.sectors == 0) {
    return Fail(EINVAL, "table line has " + std::to_string(request.sectors) +
                            " sectors, the device has " + std::to_string(answer.sectors));
  }
  return answer;
}

}  // namespace ddsnap::server
