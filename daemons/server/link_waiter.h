// SPDX-License-Identifier: GPL-2.0
// Work that has to know what the kernel does: it waits, bounded, for the link of
// a kernel that is attached, and goes on at once where there is none.
#ifndef DDSNAP_SERVER_LINK_WAITER_H_
#define DDSNAP_SERVER_LINK_WAITER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "io/event_loop.h"

namespace ddsnap::server {

class Server;

class LinkWaiter {
 public:
  enum class For : uint8_t {
    kLink,     // WELCOME is held or sent
    kSettled,  // and the kernel has named its devices
  };
  using Work = std::function<void(const Status&)>;

  LinkWaiter(Server& server, EventLoop& loop);

  // Calls `work`, perhaps at once; with EAGAIN when the time is up.
  void Wait(For what, Work work);

  void OnLinked();
  void OnSettled();
  void OnLinkLost() { settled_ = false; }

 private:
  struct Waiting {
    For what;
    uint64_t deadline;
    Work work;
  };
  [[nodiscard]] bool May(For what);
  void Look();

  Server& server_;
  bool settled_ = false;
  std::vector<Waiting> waiting_;
  EventSource look_again_;
  EventSource settle_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_LINK_WAITER_H_
