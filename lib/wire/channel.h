// SPDX-License-Identifier: GPL-2.0
// A connection that speaks frames, driven by an event loop.
//
// Thread rule: the loop's thread.
#ifndef DDSNAP_WIRE_CHANNEL_H_
#define DDSNAP_WIRE_CHANNEL_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "io/event_loop.h"
#include "wire/frame.h"

namespace ddsnap::wire {

class Channel {
 public:
  struct Handlers {
    // One checked frame.  An error closes the channel with that reason.
    std::function<Status(const Frame&)> frame;
    // Called once, when the peer has gone, broke the protocol, or Finish is done;
    // `why` is empty for an orderly end.  Not called for Close.
    std::function<void(const std::string& why)> closed;
    // Optional: output that had to wait has all been taken.  Not called from within Send.
    std::function<void()> drained;
  };

  // `fd` is nonblocking.  Handlers must not destroy the channel: Close it and
  // destroy it later, from the loop.
  Channel(EventLoop& loop, Fd fd, Handlers handlers);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Sends what the writer holds as soon as the socket takes it.
  void Send(FrameWriter& frames);
  template <typename M>
  void SendMessage(const M& message) {
    FrameWriter frames;
    Put(frames, message);
    Send(frames);
  }

  void Close();   // at once
  void Finish();  // when all output is sent; input is ignored from now on
  // Stops reading, so that a peer that asks faster than it reads has to wait.
  void Pause(bool pause);

  // A connection between two bytes of each direction, for another process to go on with.
  struct Left {
    Fd fd;
    std::vector<std::byte> unread, unsent;
  };
  // Closes the channel but not the connection, of which not a byte is read or written after this.
  // nullopt, and nothing happens, if it is closed or about to be.
  [[nodiscard]] std::optional<Left> Leave();
  // On a new channel: goes on after these bytes.
  void Continue(std::span<const std::byte> unread, std::span<const std::byte> unsent);

  [[nodiscard]] bool open() const { return static_cast<bool>(fd_); }
  [[nodiscard]] size_t pending() const { return out_.size(); }

 private:
  void OnEvents(uint32_t events);
  void ReadInput();
  bool DispatchFrames();
  void WriteOutput();
  void UpdateEvents();
  void End(const std::string& why);

  Fd fd_;
  Handlers handlers_;
  FrameReader in_;
  FrameWriter out_;
  bool paused_ = false;
  bool finishing_ = false;
  EventSource resume_;  // dispatches buffered frames after a pause
  EventSource source_;
};

}  // namespace ddsnap::wire

#endif  // DDSNAP_WIRE_CHANNEL_H_
