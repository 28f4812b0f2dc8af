// SPDX-License-Identifier: GPL-2.0
// The other end of a daemon's socket, as a test plays it: sends frames, whole
// or broken, and waits for those that must come.
//
// Waiting runs the event loop, so that a daemon in the same process (and loop) moves
// on as well as one in another process.
#ifndef DDSNAP_TESTS_LIB_FAKE_PEER_H_
#define DDSNAP_TESTS_LIB_FAKE_PEER_H_

#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wire/channel.h"

namespace ddsnap::test {

// Runs the loop until `done`, for at most 20 seconds; returns whether it was.
[[nodiscard]] bool RunUntil(EventLoop& loop, const std::function<bool()>& done);

struct OwnedFrame {
  uint32_t type = 0;
  uint64_t sequence = 0;
  std::vector<std::byte> payload;
  [[nodiscard]] wire::Frame view() const { return {type, sequence, payload}; }
};

class FakePeer {
 public:
  FakePeer(EventLoop& loop, Fd fd);
  // Connects to a daemon's socket, waiting for it to be there; aborts if it never is.
  FakePeer(EventLoop& loop, const std::string& socket);

  template <typename M>
  void Send(const M& message) {
    channel_->SendMessage(message);
  }
  void Send(wire::FrameWriter& frames) { channel_->Send(frames); }
  void SendRaw(std::span<const std::byte> bytes);  // as they are
  void Close() { channel_->Close(); }
  void Pause(bool pause) { channel_->Pause(pause); }

  // The next frame that has not been taken, of whatever type; a test fails that
  // waits in vain.  Type 0: the peer closed the connection.
  [[nodiscard]] OwnedFrame Next();
  // The next frame must be an M.
  template <typename M>
  [[nodiscard]] M Expect() {
    return wire::Get<M>(ExpectType(M::kType).view());
  }
  [[nodiscard]] OwnedFrame ExpectType(uint32_t type);
  // Nothing more may come: the connection ends.
  void ExpectClosed();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] size_t waiting() const { return frames_.size(); }

  // A tool's request and its answer; ranges of a changelist are left in `frames`.
  [[nodiscard]] nlohmann::json Ask(const nlohmann::json& request);
  void Request(const nlohmann::json& request);  // without waiting
  [[nodiscard]] nlohmann::json Reply();

 private:
  void Start(Fd fd);

  EventLoop& loop_;
  int raw_fd_ = -1;
  std::deque<OwnedFrame> frames_;
  bool closed_ = false;
  std::unique_ptr<wire::Channel> channel_;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_LIB_FAKE_PEER_H_
