// SPDX-License-Identifier: GPL-2.0
// Creation of snapshots: barrier, READY, stage, commit, RESUME.
//
// All requests that wait when READY comes share its barrier.  A kernel that is
// attached but not linked is waited for, for without its barrier a snapshot would
// be of no point in time.
#ifndef DDSNAP_SERVER_CREATION_QUEUE_H_
#define DDSNAP_SERVER_CREATION_QUEUE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "io/event_loop.h"

namespace ddsnap::server {

class Server;

class CreationQueue {
 public:
  // Gets the epoch, or why there is none; what is told goes out after the commit.
  using Done = std::function<void(const Result<Epoch>&)>;

  CreationQueue(Server& server, EventLoop& loop);

  void Create(Tag tag, Done done);

  [[nodiscard]] Status OnReady(uint64_t barrier);
  void OnLinkLost();
  // True while the kernel holds writes for us: its RESUME will tell `live`.
  [[nodiscard]] bool barrier_up() const { return barrier_ != 0; }
  [[nodiscard]] bool waiting() const { return !requests_.empty(); }
  // Ids up to this have been used.
  [[nodiscard]] uint64_t last_barrier() const { return last_barrier_; }
  // A link whose barriers had these ids goes on: READY of one that timed out may still come.
  void Continue(uint64_t last_barrier) { last_barrier_ = last_barrier; }
  // No request can be met, and no barrier is up any more.
  void FailAll(const Error& why);

 private:
  struct Request {
    Tag tag;
    Done done;
  };
  void Begin();
  void StageAll();
  void OnTimer();

  Server& server_;
  std::vector<Request> requests_;
  uint64_t barrier_ = 0;  // id of the barrier that is up
  uint64_t last_barrier_ = 0;
  EventSource timer_;  // bounds the wait for READY
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_CREATION_QUEUE_H_
