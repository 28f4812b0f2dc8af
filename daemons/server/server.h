// SPDX-License-Identifier: GPL-2.0
// The server of one volume: takes requests from its sessions, stages them in
// the store, and commits once for all that came in one turn of the event loop.
//
// A turn: every socket that has input is read and its frames are handled; then,
// at a lower priority, EndTurn commits and sends what was held.  Background
// work runs when no socket has anything to say.
#ifndef DDSNAP_SERVER_SERVER_H_
#define DDSNAP_SERVER_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event.h"
#include "creation_queue.h"
#include "handover.h"
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
  std::string volume;                 // its name; empty: started by hand
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

  // Makes sure that a later server will know of it: when it happened, /var may have been missing, or
  // have waited for this volume.
  void RememberAbandoned(std::chrono::milliseconds patience);

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
  // Ends the loop when the requests under way are answered, or after ten seconds.
  void Shutdown();
  [[nodiscard]] bool ending() const { return ending_; }
  // True if epoch and live snapshots are what the kernel was told last.
  [[nodiscard]] bool kernel_knows_all() const { return !live_changed_ && !creations_.barrier_up(); }

  // Instead of ending the loop, which in a test is its peers' as well.
  void TEST_OnEnd(std::function<void()> on_end) { on_end_ = std::move(on_end); }
  // Something an administrator may want to act upon.
  void Report(int priority, const Event& event, const std::string& text,
              const std::vector<LogField>& fields = {});

  // After the loop: leaves the store checkpointed.
  [[nodiscard]] Status Finish();
  // After a Finish that was good: the connections, for a successor.  Nothing is to be called after
  // this.
  [[nodiscard]] Handover Leave();
  // Before the loop: goes on with the connections of an earlier server.
  void TakeUp(Handover left);

 private:
  void Accept();
  void EndTurn();
  void CommitTurn();
  [[nodiscard]] bool RequestsUnderWay() const;
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
  std::function<void()> on_end_;
  bool ending_ = false;
  unsigned turns_put_off_ = 0;
  EventSource turn_, idle_, accept_, end_;
  SpacePolicy space_;
  LinkWaiter link_waiter_;
  CreationQueue creations_;
  Registrar registrar_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_SERVER_H_
