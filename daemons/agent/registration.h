// SPDX-License-Identifier: GPL-2.0
// The servers of this host, by the devices of their volumes.
#ifndef DDSNAP_AGENT_REGISTRATION_H_
#define DDSNAP_AGENT_REGISTRATION_H_

#include <map>
#include <string>

#include "base/chunk.h"
#include "wire/messages.h"

namespace ddsnap::agent {

// `owner` is the connection that a registration lives with.
class Registry {
 public:
  // Replaces the entry of another owner for the same devices.
  void Add(const void* owner, const wire::Register& server);
  void Remove(const void* owner);
  // Null where no server is known; valid until the next change.
  [[nodiscard]] const wire::Register* Find(const wire::VolumeDevices& devices) const;
  // What was registered last for these devices, by a server that may have gone; null if nothing
  // ever was.
  [[nodiscard]] const wire::Register* Last(const wire::VolumeDevices& devices) const;

 private:
  struct Entry {
    const void* owner;
    wire::Register server;
  };
  std::map<wire::VolumeDevices, Entry> entries_;
  std::map<wire::VolumeDevices, wire::Register> last_;  // one for each volume of this host
};

}  // namespace ddsnap::agent

#endif  // DDSNAP_AGENT_REGISTRATION_H_
