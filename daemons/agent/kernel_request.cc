// SPDX-License-Identifier: GPL-2.0
#include "kernel_request.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "dm/dm.h"
#include "host/event_queue.h"
#include "io/unix_socket.h"
#include "volume/volume_config.h"

namespace ddsnap::agent {
namespace {

constexpr uint64_t kRetryMs = 100;
// A server that is there registers sooner; one that cannot start is not to be started so often that
// the service manager gives up.
constexpr uint64_t kFirstWakeMs = 1000, kWakeMs = 10000;
// The descriptor's number in the child, whose only one it is besides 0 to 2.
constexpr int kHandedFd = 3;

std::string Numbers(const wire::VolumeDevices& d) {
  return "store " + std::to_string(d.store.major) + ":" + std::to_string(d.store.minor) +
         ", origin " + std::to_string(d.origin.major) + ":" + std::to_string(d.origin.minor);
}

// In the child.  Other descriptors are closed first: while device-mapper
// keeps this process, it must not keep the connections of others open.
[[noreturn]] void HandOverInChild(const Connector& connector, const wire::Device& dm_dev, int fd) {
  (void)::signal(SIGTERM, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (fd != kHandedFd && ::dup2(fd, kHandedFd) < 0) ::_exit(errno & 127);
  (void)::close_range(kHandedFd + 1, ~0U, 0);
  const Status s = connector(dm_dev, kHandedFd);
  // An exit code has room for the errnos that matter.
  ::_exit(s ? 0 : std::clamp(s.error().code, 1, 254));
}

}  // namespace

KernelRequest::KernelRequest(const Context& context, wire::Channel& kernel,
                             const wire::Identify& what)
    : context_(context),
      kernel_(kernel),
      identify_(what),
      deadline_(context.loop.AddTimer([this] { OnDeadline(); })),
      retry_(context.loop.AddTimer([this] { Retry(); })) {
  deadline_.ArmAfter(context_.identify_wait_ms);
  Advance();
}

KernelRequest::KernelRequest(const Context& context, wire::Channel& kernel,
                             const wire::NeedServer& what)
    : context_(context),
      kernel_(kernel),
      need_server_(what),
      deadline_(context.loop.AddTimer([this] { OnLongWait(); })),
      retry_(context.loop.AddTimer([this] { Retry(); })),
      wake_(context.loop.AddTimer([this] { Wake(); })) {
  deadline_.ArmAfter(context.link_wait_ms);
  wake_.ArmAfter(kFirstWakeMs);
  Advance();
}

const wire::VolumeDevices& KernelRequest::devices() const {
  return identify_ ? identify_->devices : need_server_->devices;
}

void KernelRequest::Advance() {
  if (busy_ || !kernel_.open()) return;
  const wire::Register* server = context_.registry.Find(devices());
  if (server == nullptr) return;
  if (need_server_ && server->uuid != need_server_->uuid) {
    return Refuse(ESTALE, "the server of these devices is of volume " + FormatUuid(server->uuid) +
                              ", not " + FormatUuid(need_server_->uuid));
  }
  auto fd = ConnectUnix(server->socket, /*nonblocking=*/true);
  if (!fd) {
    // It is about to go, or very busy; its registration tells which.
    retry_.ArmAfter(kRetryMs);
    return;
  }
  busy_ = true;
  if (identify_) {
    Ask(std::move(*fd));
  } else {
    HandOver(std::move(*fd));
  }
}

void KernelRequest::Ask(Fd server) {
  server_ = std::make_unique<wire::Channel>(
      context_.loop, std::move(server),
      wire::Channel::Handlers{
          .frame = [this](const wire::Frame& frame) -> Status {
            if (frame.type != wire::Identified::kType && frame.type != wire::Refused::kType) {
              return Fail(EPROTO, std::string("unexpected ") + wire::TypeName(frame.type));
            }
            wire::FrameWriter answer;
            answer.Put(frame.type, 0, frame.payload);
            kernel_.Send(answer);
            deadline_.Disarm();
            server_->Close();
            kernel_.Finish();
            return {};
          },
          .closed =
              [this](const std::string&) {
                // Not from within the channel's own handler.
                retry_.ArmAfter(kRetryMs);
              },
          .drained = {}});
  server_->SendMessage(*identify_);
}

void KernelRequest::HandOver(Fd server) {
  const pid_t child = ::fork();
  if (child == 0) HandOverInChild(context_.connector, need_server_->dm_dev, server.get());
  if (child < 0) {
    Log(LOG_ERR, FailErrno(errno, "fork").error().text);
    retry_.ArmAfter(kRetryMs);
    return;
  }
  child_ = context_.loop.AddChild(child, [this](int status) { OnChildDone(status); });
}

void KernelRequest::OnChildDone(int wait_status) {
  const std::string dm_dev =
      std::to_string(need_server_->dm_dev.major) + ":" + std::to_string(need_server_->dm_dev.minor);
  const int error = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EINTR;
  if (error == 0) {
    Log(LOG_INFO, "device " + dm_dev + " is connected to the server of " + Numbers(devices()));
  } else {
    Log(LOG_WARNING, FailErrno(error, "device " + dm_dev + ": connect").error().text);
  }
  // The kernel asks again if it still has no link.
  kernel_.Finish();
}

void KernelRequest::OnDeadline() {
  if (server_) server_->Close();
  Refuse(ENOENT, "no server has registered for " + Numbers(devices()));
}

// Said once for a request, which the kernel keeps until it has a link.
void KernelRequest::OnLongWait() {
  const std::string name = dm::NameOf({need_server_->dm_dev.major, need_server_->dm_dev.minor});
  ReportEvent(LOG_WARNING, kLinkWaitingEvent, VolumeOfDmName(name),
              "the kernel has waited " + std::to_string(context_.link_wait_ms / 1000) +
                  " s for a server of " + Numbers(devices()) + "; first writes wait with it");
}

// Nobody may have asked for a server since the last one ended, such as one that was stopped below a
// volume that is up: whoever connects to its socket has the service manager start another.  The
// connection itself is of no use, the server registers; without a service manager it is refused.
void KernelRequest::Wake() {
  const wire::Register* last = context_.registry.Last(devices());
  if (!busy_ && context_.registry.Find(devices()) == nullptr && last != nullptr &&
      last->uuid == need_server_->uuid)
    (void)ConnectUnix(last->socket, /*nonblocking=*/true);
  wake_.ArmAfter(kWakeMs);
}

void KernelRequest::Retry() {
  busy_ = false;
  server_.reset();
  Advance();
  // A server that went down without its registration, yet: look again.
  if (!busy_ && context_.registry.Find(devices()) != nullptr) retry_.ArmAfter(kRetryMs);
}

void KernelRequest::Refuse(int error, const std::string& reason) {
  Log(LOG_WARNING, "kernel request refused: " + reason);
  kernel_.SendMessage(wire::Refused{error, reason});
  kernel_.Finish();
}

}  // namespace ddsnap::agent
