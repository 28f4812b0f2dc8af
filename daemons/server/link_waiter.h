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
  using Work = std::function<void(const Status&)>;

  LinkWaiter(Server& server, EventLoop& loop);

  // Calls `work`, perhaps at once, when there is a link and its kernel has named
  // its devices, or when no kernel is attached; with EAGAIN when the time is up.
  void Wait(Work work);

  void OnLinked();
  // The kernel may answer from now on, or has just said more of what comes before GRANT_WANTED:
  // it gets some time for the next of it.
  void OnHeard();
  void OnSettled();
  void OnLinkLost() { settled_ = false; }

  // Somebody waits for a link.
  [[nodiscard]] bool waiting() const { return !waiting_.empty(); }

 private:
  struct Waiting {
    uint64_t deadline;
    Work work;
  };
  [[nodiscard]] bool May();
  void Look();

  Server& server_;
  bool settled_ = false;
  std::vector<Waiting> waiting_;
  EventSource look_again_;
  EventSource settle_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_LINK_WAITER_H_
