// SPDX-License-Identifier: GPL-2.0
#include "fault_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ddsnap {

Status FaultDevice::Read(uint64_t offset, std::span<std::byte> out) {
  if (power_.off()) return Fail(EIO, name_ + ": no power");
  if (offset > now_.size() || out.size() > now_.size() - offset)
    return Fail(EIO, name_ + ": read past the end");
  std::memcpy(out.data(), now_.data() + offset, out.size());
  return {};
}

Status FaultDevice::Write(uint64_t offset, std::span<const std::byte> data) {
  if (offset > now_.size() || data.size() > now_.size() - offset || offset % kSector != 0)
    return Fail(EIO, name_ + ": bad write");
  if (!power_.Act()) return Fail(EIO, name_ + ": no power");
  const bool before = power_.off();
  const bool done = power_.Write();
  if (before) return Fail(EIO, name_ + ": no power");
  // The write during which the power goes may have reached the disk in part.
  for (size_t i = 0; i < data.size(); i += kSector) {
    const auto sector = data.subspan(i, kSector);
    cached_[(offset + i) / kSector].emplace_back(sector.begin(), sector.end());
  }
  std::memcpy(now_.data() + offset, data.data(), data.size());
  if (!done) return Fail(EIO, name_ + ": power cut");
  return {};
}

Status FaultDevice::Flush() {
  if (power_.off() || !power_.Act()) return Fail(EIO, name_ + ": no power");
  for (const auto& [sector, writes] : cached_)
    std::memcpy(durable_.data() + sector * kSector, writes.back().data(), kSector);
  cached_.clear();
  return {};
}

void FaultDevice::Settle(std::mt19937_64& random) {
  // In a fixed order, so that a seed gives the same disk again.
  std::vector<uint64_t> sectors;
  for (const auto& [sector, writes] : cached_) sectors.push_back(sector);
  std::sort(sectors.begin(), sectors.end());
  for (const uint64_t sector : sectors) {
    const auto& writes = cached_[sector];
    const uint64_t pick = random() % (writes.size() + 1);
    if (pick > 0)
      std::memcpy(durable_.data() + sector * kSector, writes[pick - 1].data(), kSector);
  }
  cached_.clear();
  now_ = durable_;
}

}  // namespace ddsnap
