// SPDX-License-Identifier: GPL-2.0
// One request of the kernel, from its frame to its answer.  It waits for a
// server; asks it (IDENTIFY) or hands its socket over (NEED_SERVER); and when
// that server goes away half-way, waits again.
#ifndef DDSNAP_AGENT_KERNEL_REQUEST_H_
#define DDSNAP_AGENT_KERNEL_REQUEST_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "registration.h"
#include "wire/channel.h"

namespace ddsnap::agent {

// Sends "connect FD" to a device, in the calling process; may block.
using Connector = std::function<Status(const wire::Device& dm_dev, int fd)>;

class KernelRequest {
 public:
  struct Context {
    EventLoop& loop;
    const Registry& registry;
    const Connector& connector;
    uint64_t identify_wait_ms;
    uint64_t link_wait_ms;  // then the event link-waiting
  };

  // `kernel` is the kernel's connection; it outlives the request, and is
  // finished or closed when the request is done.
  KernelRequest(const Context& context, wire::Channel& kernel, const wire::Identify& what);
  KernelRequest(const Context& context, wire::Channel& kernel, const wire::NeedServer& what);

  // A server has registered: look again.
  void Advance();

 private:
  [[nodiscard]] const wire::VolumeDevices& devices() const;
  void Ask(Fd server);
  void HandOver(Fd server);
  void OnChildDone(int wait_status);
  void OnDeadline();
  void OnLongWait();
  void Wake();
  void Retry();
  void Refuse(int error, const std::string& reason);

  const Context context_;
  wire::Channel& kernel_;
  std::optional<wire::Identify> identify_;
  std::optional<wire::NeedServer> need_server_;
  bool busy_ = false;  // asking or handing over
  std::unique_ptr<wire::Channel> server_;
  EventSource deadline_, retry_, child_, wake_;
};

}  // namespace ddsnap::agent

#endif  // DDSNAP_AGENT_KERNEL_REQUEST_H_
