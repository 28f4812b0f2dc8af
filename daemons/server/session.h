// SPDX-License-Identifier: GPL-2.0
// One connection to the server's socket.  Its first frame decides what the
// peer is: a kernel (HELLO), a tool (CONTROL_REQUEST), or an agent that asks
// for a kernel (IDENTIFY).
#ifndef DDSNAP_SERVER_SESSION_H_
#define DDSNAP_SERVER_SESSION_H_

#include <memory>
#include <optional>
#include <string>

#include "wire/channel.h"
#include "wire/kept.h"

namespace ddsnap::server {

class Server;

// The part of a session that knows what its frames mean.
class Peer {
 public:
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;

  [[nodiscard]] virtual Status OnFrame(const wire::Frame& frame) = 0;
  // Everything staged is durable: last chance to add to what is sent now.
  virtual void OnCommitted() {}
  // It is not, and what was held has been thrown away.
  virtual void OnCommitFailed(const Error&) {}
  virtual void OnDrained() {}
  // True while something is to be said that only this server can say.
  [[nodiscard]] virtual bool busy() const { return false; }
  // What a successor must know to go on with this connection, if it is the kernel's.
  [[nodiscard]] virtual std::optional<wire::KeptLink> Link() const { return std::nullopt; }
  [[nodiscard]] virtual bool is_kernel() const { return false; }
  virtual void OnClosed(const std::string&) {}
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Server& server, EventLoop& loop, Fd fd);

  // Frames that go out at the end of this turn, when all that is staged is
  // durable.  Whoever adds here schedules the turn (Server::ScheduleTurn).
  [[nodiscard]] wire::FrameWriter& held() { return held_; }
  [[nodiscard]] wire::Channel& channel() { return channel_; }

  void Release();                       // sends what is held
  void CommitFailed(const Error& why);  // drops it

  // ---- the server ends
  // True while a request is under way.
  [[nodiscard]] bool busy() const { return peer_ && peer_->busy(); }
  // Reads no request that has not begun; the kernel goes on.
  void StopRequests();
  // What a successor goes on with; nullopt if it cannot.  The session is of no use any more.
  struct Left {
    Fd fd;
    wire::KeptConnection kept;
  };
  [[nodiscard]] std::optional<Left> Leave();
  // On a new session: goes on with what another server left.  On an error it must be closed.
  [[nodiscard]] Status Continue(const wire::KeptConnection& kept);

 private:
  [[nodiscard]] Status OnFrame(const wire::Frame& frame);
  [[nodiscard]] std::unique_ptr<Peer> MakePeer(uint32_t type);

  Server& server_;
  wire::FrameWriter held_;
  std::unique_ptr<Peer> peer_;
  wire::Channel channel_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_SESSION_H_
