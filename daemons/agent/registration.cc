// SPDX-License-Identifier: GPL-2.0
#include "registration.h"

namespace ddsnap::agent {

void Registry::Add(const void* owner, const wire::Register& server) {
  Remove(owner);
  entries_.insert_or_assign(server.devices, Entry{owner, server});
  last_.insert_or_assign(server.devices, server);
}

void Registry::Remove(const void* owner) {
  std::erase_if(entries_, [owner](const auto& entry) { return entry.second.owner == owner; });
}

const wire::Register* Registry::Find(const wire::VolumeDevices& devices) const {
  const auto it = entries_.find(devices);
  return it == entries_.end() ? nullptr : &it->second.server;
}

const wire::Register* Registry::Last(const wire::VolumeDevices& devices) const {
  const auto it = last_.find(devices);
  return it == last_.end() ? nullptr : &it->second;
}

}  // namespace ddsnap::agent
