// SPDX-License-Identifier: GPL-2.0
#include "io/event_loop.h"

#include <sys/wait.h>

#include <cassert>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <utility>

namespace ddsnap {

// The handler is shared with the call under way, so that a source may be
// destroyed by its own handler.
struct EventSource::State {
  sd_event_source* source = nullptr;
  std::shared_ptr<std::function<void(uint32_t)>> handler;

  static int Io(sd_event_source*, int, uint32_t revents, void* self) {
    const auto keep = static_cast<State*>(self)->handler;
    (*keep)(revents);
    return 0;
  }
  static int Timer(sd_event_source*, uint64_t, void* self) { return Io(nullptr, -1, 0, self); }
  static int Deferred(sd_event_source*, void* self) { return Io(nullptr, -1, 0, self); }
  static int Signal(sd_event_source*, const signalfd_siginfo*, void* self) {
    return Io(nullptr, -1, 0, self);
  }
  static int Child(sd_event_source*, const siginfo_t* info, void* self) {
    const bool exited = info->si_code == CLD_EXITED;
    const int code = info->si_status;
    return Io(nullptr, -1, static_cast<uint32_t>(exited ? code << 8 : code), self);
  }
};

EventSource::EventSource() = default;
EventSource::EventSource(EventSource&& other) noexcept = default;

EventSource& EventSource::operator=(EventSource&& other) noexcept {
  if (this != &other) {
    Reset();
    state_ = std::move(other.state_);
  }
  return *this;
}

EventSource::~EventSource() { Reset(); }

void EventSource::Reset() {
  if (state_ && state_->source != nullptr) sd_event_source_disable_unref(state_->source);
  state_.reset();
}

void EventSource::SetIoEvents(uint32_t events) {
  if (state_) (void)sd_event_source_set_io_events(state_->source, events);
}

void EventSource::Arm() {
  if (state_) (void)sd_event_source_set_enabled(state_->source, SD_EVENT_ONESHOT);
}

void EventSource::SetPriority(int64_t priority) {
  if (state_) (void)sd_event_source_set_priority(state_->source, priority);
}

void EventSource::ArmAfter(uint64_t milliseconds) {
  if (!state_) return;
  (void)sd_event_source_set_time(state_->source, (EventLoop::NowMs() + milliseconds) * 1000);
  Arm();
}

void EventSource::Disarm() {
  if (state_) (void)sd_event_source_set_enabled(state_->source, SD_EVENT_OFF);
}

Result<EventLoop> EventLoop::New() {
  sd_event* event = nullptr;
  const int r = sd_event_new(&event);
  if (r < 0) return FailErrno(-r, "event loop");
  return EventLoop(event);
}

EventLoop::~EventLoop() {
  sigterm_.Reset();
  sigint_.Reset();
  if (event_ != nullptr) sd_event_unref(event_);
}

namespace {

// Adding a source fails only without memory or with a bad descriptor, which
// would be a defect here: neither can be handled.
void Must(int r) {
  if (r < 0) std::abort();
}

}  // namespace

EventSource EventLoop::AddIo(int fd, uint32_t events, std::function<void(uint32_t)> handler) {
  EventSource s;
  s.state_ = std::make_unique<EventSource::State>();
  s.state_->handler = std::make_shared<std::function<void(uint32_t)>>(std::move(handler));
  Must(sd_event_add_io(event_, &s.state_->source, fd, events, EventSource::State::Io,
                       s.state_.get()));
  return s;
}

EventSource EventLoop::AddTimer(std::function<void()> handler) {
  EventSource s;
  s.state_ = std::make_unique<EventSource::State>();
  s.state_->handler = std::make_shared<std::function<void(uint32_t)>>(
      [handler = std::move(handler)](uint32_t) { handler(); });
  Must(sd_event_add_time(event_, &s.state_->source, CLOCK_MONOTONIC, 0, 1000,
                         EventSource::State::Timer, s.state_.get()));
  s.Disarm();
  return s;
}

EventSource EventLoop::AddDeferred(int64_t priority, std::function<void()> handler) {
  EventSource s;
  s.state_ = std::make_unique<EventSource::State>();
  s.state_->handler = std::make_shared<std::function<void(uint32_t)>>(
      [handler = std::move(handler)](uint32_t) { handler(); });
  Must(sd_event_add_defer(event_, &s.state_->source, EventSource::State::Deferred, s.state_.get()));
  s.Disarm();
  s.SetPriority(priority);
  return s;
}

EventSource EventLoop::AddChild(int pid, std::function<void(int)> handler) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  (void)sigprocmask(SIG_BLOCK, &mask, nullptr);
  EventSource s;
  s.state_ = std::make_unique<EventSource::State>();
  s.state_->handler = std::make_shared<std::function<void(uint32_t)>>(
      [handler = std::move(handler)](uint32_t status) { handler(static_cast<int>(status)); });
  Must(sd_event_add_child(event_, &s.state_->source, pid, WEXITED, EventSource::State::Child,
                          s.state_.get()));
  return s;
}

Status EventLoop::OnTermination(std::function<void()> handler) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  if (sigprocmask(SIG_BLOCK, &mask, nullptr) != 0) return FailErrno(errno, "sigprocmask");
  for (auto [signal, source] : {std::pair{SIGTERM, &sigterm_}, std::pair{SIGINT, &sigint_}}) {
    source->state_ = std::make_unique<EventSource::State>();
    source->state_->handler =
        std::make_shared<std::function<void(uint32_t)>>([handler](uint32_t) { handler(); });
    const int r = sd_event_add_signal(event_, &source->state_->source, signal,
                                      EventSource::State::Signal, source->state_.get());
    if (r < 0) return FailErrno(-r, "signal handler");
  }
  return {};
}

uint64_t EventLoop::NowMs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

void EventLoop::EnableWatchdog() { (void)sd_event_set_watchdog(event_, 1); }

Status EventLoop::Run() {
  const int r = sd_event_loop(event_);
  if (r < 0) return FailErrno(-r, "event loop");
  return {};
}

void EventLoop::Exit() { (void)sd_event_exit(event_, 0); }

bool EventLoop::RunOnce(uint64_t milliseconds) {
  return sd_event_run(event_, milliseconds * 1000) > 0;
}

}  // namespace ddsnap
