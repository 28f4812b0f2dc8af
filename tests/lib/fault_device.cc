// SPDX-License-Identifier: GPL-2.0
#include "fault_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ddsnap {

void SparseBytes::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const uint64_t at = offset % kPiece;
    const size_t n = std::min<uint64_t>(out.size(), kPiece - at);
    const auto it = pieces_.find(offset / kPiece);
    if (it == pieces_.end()) {
      std::memset(out.data(), 0, n);
    } else {
      std::memcpy(out.data(), it->second.data() + at, n);
    }
    out = out.subspan(n);
    offset += n;
  }
}

void SparseBytes::Write(uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const uint64_t at = offset % kPiece;
    const size_t n = std::min<uint64_t>(data.size(), kPiece - at);
    std::memcpy(pieces_[offset / kPiece].data() + at, data.data(), n);
    data = data.subspan(n);
    offset += n;
  }
}

void SparseBytes::Cut(uint64_t offset) {
  std::erase_if(pieces_, [&](const auto& piece) { return piece.first * kPiece >= offset; });
}

void FaultDevice::SetSize(uint64_t size) {
  std::erase_if(cached_, [&](const auto& sector) { return sector.first * kSector >= size; });
  now_.Cut(size);
  durable_.Cut(size);
  size_ = size;
}

Status FaultDevice::Read(uint64_t offset, std::span<std::byte> out) {
  if (power_.off()) return Fail(EIO, name_ + ": no power");
  if (offset > size_ || out.size() > size_ - offset)
    return Fail(EIO, name_ + ": read past the end");
  now_.Read(offset, out);
  return {};
}

Status FaultDevice::Write(uint64_t offset, std::span<const std::byte> data) {
  if (offset > size_ || data.size() > size_ - offset || offset % kSector != 0)
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
  now_.Write(offset, data);
  if (!done) return Fail(EIO, name_ + ": power cut");
  return {};
}

Status FaultDevice::Flush() {
  if (power_.off() || !power_.Act()) return Fail(EIO, name_ + ": no power");
  for (const auto& [sector, writes] : cached_)
    durable_.Write(sector * kSector, writes.back());
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
    if (pick > 0) durable_.Write(sector * kSector, writes[pick - 1]);
  }
  cached_.clear();
  now_ = durable_;
}

}  // namespace ddsnap
