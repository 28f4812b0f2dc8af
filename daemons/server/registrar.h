// SPDX-License-Identifier: GPL-2.0
// Keeps the server registered with the agent, which may come and go.
#ifndef DDSNAP_SERVER_REGISTRAR_H_
#define DDSNAP_SERVER_REGISTRAR_H_

#include <memory>
#include <string>

#include "wire/channel.h"

namespace ddsnap::server {

class Registrar {
 public:
  Registrar(EventLoop& loop, std::string agent, wire::Register registration);

 private:
  void Try();

  EventLoop& loop_;
  const std::string agent_;
  const wire::Register registration_;
  bool told_ = false;  // that there is no agent: once is enough
  std::unique_ptr<wire::Channel> channel_;
  EventSource retry_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_REGISTRAR_H_
