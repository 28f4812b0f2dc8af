// SPDX-License-Identifier: GPL-2.0
// A block device as the engine sees it: the seam between the engine and the
// operating system.  FileDevice is a real device or file, MemDevice is memory,
// FaultDevice (tests/lib) loses power.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_IO_BLOCK_DEVICE_H_
#define DDSNAP_IO_BLOCK_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"

namespace ddsnap {

class BlockDevice {
 public:
  // Reads and writes are in multiples of this many bytes, at such offsets.
  static constexpr uint64_t kBlockSize = 4096;

  BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;
  virtual ~BlockDevice() = default;

  // Reads out.size() bytes at `offset`.  Reading past the end is an error.
  [[nodiscard]] virtual Status Read(uint64_t offset, std::span<std::byte> out) = 0;

  // Writes data at `offset`.  The data may sit in a volatile cache until a
  // Flush that began after this returned has returned; a power cut before
  // then may lose or tear it at 512-byte granularity.
  [[nodiscard]] virtual Status Write(uint64_t offset, std::span<const std::byte> data) = 0;

  // Makes all completed writes durable.
  [[nodiscard]] virtual Status Flush() = 0;

  // Size in bytes, now: a device may grow.
  [[nodiscard]] virtual uint64_t size() const = 0;

  // For messages: a path or a description.
  [[nodiscard]] virtual const std::string& name() const = 0;
};

}  // namespace ddsnap

#endif  // DDSNAP_IO_BLOCK_DEVICE_H_
