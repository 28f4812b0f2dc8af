// SPDX-License-Identifier: GPL-2.0
// The agent of a host: brings the kernel and the servers of its volumes together.
#ifndef DDSNAP_AGENT_AGENT_H_
#define DDSNAP_AGENT_AGENT_H_

#include <memory>
#include <vector>

#include "kernel_request.h"
#include "registration.h"

namespace ddsnap::agent {

class Agent {
 public:
  // The loop outlives the agent.
  Agent(EventLoop& loop, Fd listener, Connector connector, uint64_t identify_wait_ms = 20000,
        uint64_t link_wait_ms = 10000);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

 private:
  struct Connection {
    std::unique_ptr<wire::Channel> channel;
    std::unique_ptr<KernelRequest> request;
    bool server = false;
  };
  void Accept();
  [[nodiscard]] Status OnFrame(Connection& connection, const wire::Frame& frame);
  void OnClosed(Connection& connection, const std::string& why);

  EventLoop& loop_;
  Fd listener_;
  const Connector connector_;
  const uint64_t identify_wait_ms_, link_wait_ms_;
  Registry registry_;
  std::vector<std::unique_ptr<Connection>> connections_, closed_;
  EventSource accept_;
  EventSource advance_;  // waiting requests look again
  EventSource reap_;     // closed connections, not from within their handlers
};

}  // namespace ddsnap::agent

#endif  // DDSNAP_AGENT_AGENT_H_
