// SPDX-License-Identifier: GPL-2.0
// The server of one volume: takes requests from its sessions, stages them in
// the store, and commits once for all that came in one turn of the event loop.
//
// A turn: every socket that has input is read and its frames are handled; then,
// at a lower priority, EndTurn commits and sends what was held.  Background
// work runs when no socket has anything to say.
#ifndef DDSNAP_SERVER_SERVER_H_
#define DDSNAP_SERVER_SERVER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "creation_queue.h"
#include "io/event_loop.h"
#include "link_waiter.h"
#include "registrar.h"
#include "session.h"
#include "space_policy.h"
#include "volume.h"

namespace ddsnap::server {

class KernelSession;

struct Config {
  Volume::Paths paths;
  std::string agent, socket;
  std::optional<Uuid> expected_uuid;  // that the store must have
  uint64_t cache_bytes = 64 << 20;
  uint64_t wait_ms = 30000;  // for the link, and for the kernel to become quiet
};

class Server {
 public:
  // `listener` is the volume's socket.  Volume and loop outlive the server.
  Server(EventLoop& loop, Volume& volume, Config config, Fd listener);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] Volume& volume() { return volume_; }
  [[nodiscard]] SnapStore& store() { return volume_.store(); }
  [[nodiscard]] SpacePolicy& space() { return space_; }
  [[nodiscard]] CreationQueue& creations() { return creations_; }
  [[nodiscard]] LinkWaiter& link_waiter() { return link_waiter_; }
  [[nodiscard]] KernelSession* kernel() { return kernel_; }
  // Why the store was abandoned, if it was.
  [[nodiscard]] const std::optional<Error>& abandoned() const { return abandoned_; }

  // Snapshots that need copies; 0 when the store was abandoned.
  [[nodiscard]] uint64_t live();
  // Devices of a snapshot that the kernel has, or had when its link broke.
  [[nodiscard]] uint32_t AttachedCount(Epoch snapshot) const;

  // ---- called by sessions and policies
  void ScheduleTurn();
  void CopiesReported();  // staged records name copies that no flush has covered
  void LiveChanged();     // the kernel is told at the end of the turn
  void BackgroundWork();  // there may be some
  void SetKernel(KernelSession* kernel);
  void KernelGone(KernelSession* kernel);
  void Relink();  // closes the kernel's link, if there is one; the kernel makes a new one
  void Forget(Session& session);  // its channel is closed
  void Shutdown();                // ends the loop

  // After the loop: leaves the store checkpointed.
  [[nodiscard]] Status Finish();

 private:
  void Accept();
  void EndTurn();
  void CommitFailed(const Error& why);
  void Idle();

  EventLoop& loop_;
  Volume& volume_;
  const Config config_;
  Fd listener_;
  std::vector<std::shared_ptr<Session>> sessions_;
  std::vector<std::shared_ptr<Session>> closed_;  // until the end of the turn
  KernelSession* kernel_ = nullptr;
  std::map<Epoch, uint32_t> last_attached_;  // of the link that broke
  std::optional<Error> abandoned_;
  bool copies_unflushed_ = false;
  bool live_changed_ = false;
  unsigned turns_put_off_ = 0;
  EventSource turn_, idle_, accept_;
  SpacePolicy space_;
  LinkWaiter link_waiter_;
  CreationQueue creations_;
  Registrar registrar_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_SERVER_H_
