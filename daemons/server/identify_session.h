// SPDX-License-Identifier: GPL-2.0
// Answers which device a table line means.
#ifndef DDSNAP_SERVER_IDENTIFY_SESSION_H_
#define DDSNAP_SERVER_IDENTIFY_SESSION_H_

#include "session.h"

namespace ddsnap::server {

class IdentifySession : public Peer {
 public:
  IdentifySession(Server& server, Session& session) : server_(server), session_(session) {}
  [[nodiscard]] Status OnFrame(const wire::Frame& frame) override;

 private:
  [[nodiscard]] Result<wire::Identified> Answer(const wire::Identify& request) const;

  Server& server_;
  Session& session_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_IDENTIFY_SESSION_H_
