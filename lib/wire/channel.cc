// SPDX-License-Identifier: GPL-2.0
#include "wire/channel.h"

#include <sys/socket.h>

#include <utility>

namespace ddsnap::wire {

Channel::Channel(EventLoop& loop, Fd fd, Handlers handlers)
    : fd_(std::move(fd)), handlers_(std::move(handlers)) {
  resume_ = loop.AddDeferred(EventLoop::kPriorityIo, [this] {
    if (open() && !finishing_) (void)DispatchFrames();
  });
  source_ = loop.AddIo(fd_.get(), EPOLLIN, [this](uint32_t events) { OnEvents(events); });
}

void Channel::OnEvents(uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    WriteOutput();
    if (open() && out_.empty()) {
      if (finishing_) return End("");
      if (handlers_.drained) handlers_.drained();
    }
  }
  if (open() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) ReadInput();
}

void Channel::ReadInput() {
  if (finishing_ || paused_) {
    // A peer that is gone has no use for what is left.
    End("");
    return;
  }
  auto input = in_.ReadFrom(fd_.get());
  if (!input) return End(input.error().text);
  if (!DispatchFrames()) return;
  if (*input == FrameReader::Input::kClosed) End("");
}

// False when the channel was closed meanwhile.
bool Channel::DispatchFrames() {
  while (!paused_ && !finishing_) {
    auto frame = in_.Next();
    if (!frame) {
      End(frame.error().text);
      return false;
    }
    if (!*frame) return true;
    const Status handled = handlers_.frame(**frame);
    if (!open()) return false;
    if (!handled) {
      End(handled.error().text);
      return false;
    }
  }
  return true;
}

void Channel::Send(FrameWriter& frames) {
  if (!open() || finishing_ || frames.empty()) return;
  const bool idle = out_.empty();
  out_.Take(frames);
  if (idle) WriteOutput();
}

void Channel::WriteOutput() {
  auto all = out_.WriteTo(fd_.get());
  if (!all) {
    // Do not call `closed` from within Send: the error shows again as an event.
    out_.Clear();
    ::shutdown(fd_.get(), SHUT_RDWR);
    return;
  }
  UpdateEvents();
}

void Channel::UpdateEvents() {
  uint32_t events = 0;
  if (!paused_ && !finishing_) events |= EPOLLIN;
  if (!out_.empty() || finishing_) events |= EPOLLOUT;
  source_.SetIoEvents(events);
}

void Channel::Pause(bool pause) {
  if (paused_ == pause || !open()) return;
  paused_ = pause;
  UpdateEvents();
  if (!pause) resume_.Arm();
}

void Channel::Finish() {
  if (!open() || finishing_) return;
  finishing_ = true;
  // The end is reported from the loop, never from within this call.
  UpdateEvents();
}

void Channel::Close() {
  source_.Reset();
  resume_.Reset();
  fd_.Reset();
}

std::optional<Channel::Left> Channel::Leave() {
  if (!open() || finishing_) return std::nullopt;
  const auto unread = in_.rest();
  const auto unsent = out_.bytes();
  Left left{.fd = std::move(fd_),
            .unread = {unread.begin(), unread.end()},
            .unsent = {unsent.begin(), unsent.end()}};
  Close();
  return left;
}

void Channel::Continue(std::span<const std::byte> unread, std::span<const std::byte> unsent) {
  in_.Append(unread);
  out_.Append(unsent);
  UpdateEvents();
  resume_.Arm();
}

void Channel::End(const std::string& why) {
  if (!open()) return;
  Close();
  if (handlers_.closed) handlers_.closed(why);
}

}  // namespace ddsnap::wire
