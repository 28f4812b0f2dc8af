// SPDX-License-Identifier: GPL-2.0
#include "io/mem_device.h"

#include <cerrno>
#include <cstring>

namespace ddsnap {

MemDevice::MemDevice(uint64_t size, std::string name) : bytes_(size), name_(std::move(name)) {}

Status MemDevice::Read(uint64_t offset, std::span<std::byte> out) {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset)
    return Fail(EIO, name_ + ": read past the end");
  std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return {};
}

Status MemDevice::Write(uint64_t offset, std::span<const std::byte> data) {
  if (offset > bytes_.size() || data.size() > bytes_.size() - offset)
    return Fail(EIO, name_ + ": write past the end");
  std::memcpy(bytes_.data() + offset, data.data(), data.size());
  return {};
}

}  // namespace ddsnap
