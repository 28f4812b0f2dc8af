// SPDX-License-Identifier: GPL-2.0
// sd-event with owned sources and callable handlers.
//
// Thread rule: one thread, the one that calls Run.
#ifndef DDSNAP_IO_EVENT_LOOP_H_
#define DDSNAP_IO_EVENT_LOOP_H_

#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "base/status.h"

namespace ddsnap {

// One source of events; destroying it ends them.  That may happen inside its
// own handler.
class EventSource {
 public:
  EventSource();
  EventSource(EventSource&& other) noexcept;
  EventSource& operator=(EventSource&& other) noexcept;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;
  ~EventSource();

  [[nodiscard]] explicit operator bool() const { return state_ != nullptr; }
  void Reset();
  // I/O sources: the epoll events of interest.
  void SetIoEvents(uint32_t events);
  // Deferred sources: fires once, at its priority, after the current handler.
  void Arm();
  // Lower numbers go first.
  void SetPriority(int64_t priority);
  // Timers: fires once, `milliseconds` from now.
  void ArmAfter(uint64_t milliseconds);
  void Disarm();

 private:
  friend class EventLoop;
  struct State;
  std::unique_ptr<State> state_;
};

class EventLoop {
 public:
  static constexpr int64_t kPriorityIo = 0;      // input and output
  static constexpr int64_t kPriorityTurn = 50;   // after all input that is there
  static constexpr int64_t kPriorityIdle = 100;  // when nobody waits

  [[nodiscard]] static Result<EventLoop> New();
  EventLoop(EventLoop&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // Each calls `handler` until the source is destroyed.  `fd` stays the
  // caller's and must outlive the source.
  [[nodiscard]] EventSource AddIo(int fd, uint32_t events, std::function<void(uint32_t)> handler);
  // Not armed at first.
  [[nodiscard]] EventSource AddTimer(std::function<void()> handler);
  [[nodiscard]] EventSource AddDeferred(int64_t priority, std::function<void()> handler);
  // Reaps `pid` and calls `handler` with the wait status, once.
  [[nodiscard]] EventSource AddChild(int pid, std::function<void(int)> handler);
  // SIGTERM and SIGINT: calls `handler` in the loop.
  [[nodiscard]] Status OnTermination(std::function<void()> handler);

  // Milliseconds of a clock that only goes forward.
  [[nodiscard]] static uint64_t NowMs();

  // Answers the service manager's watchdog, if it asks for that.
  void EnableWatchdog();

  // Handles events until Exit.
  [[nodiscard]] Status Run();
  void Exit();
  // Handles what is there or comes within `milliseconds`; for tests.
  [[nodiscard]] bool RunOnce(uint64_t milliseconds);

 private:
  explicit EventLoop(sd_event* event) : event_(event) {}
  sd_event* event_ = nullptr;
  EventSource sigterm_, sigint_;
};

}  // namespace ddsnap

#endif  // DDSNAP_IO_EVENT_LOOP_H_
