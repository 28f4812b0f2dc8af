// SPDX-License-Identifier: GPL-2.0
// A device or file whose content is read or written by several threads at
// once, past the page cache where that can be done.
//
// Thread rule: Read and Write may be called by any number of threads at once.
#ifndef DDSNAP_REPL_CONTENT_DEVICE_H_
#define DDSNAP_REPL_CONTENT_DEVICE_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace ddsnap::repl {

// What a disk says of a place that cannot be read.
[[nodiscard]] inline bool IsLost(const Error& error) {
  return error.code == EIO || error.code == ENODATA || error.code == EILSEQ;
}

class ContentDevice {
 public:
  // For reading.
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> OpenToRead(const std::string& path);
  // For reading, held as by OpenToChange: others may read it too, but not mount or change it so.
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> OpenToReadAlone(
      const std::string& path);
  // For reading and writing, by nobody else: EBUSY if the device is mounted,
  // part of another device or otherwise held, or the file is locked or behind
  // a loop device.
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> OpenToChange(
      const std::string& path);

  ContentDevice() = default;
  ContentDevice(const ContentDevice&) = delete;
  ContentDevice& operator=(const ContentDevice&) = delete;
  virtual ~ContentDevice() = default;

  [[nodiscard]] virtual Status Read(uint64_t offset, std::span<std::byte> out) const = 0;
  [[nodiscard]] virtual Status Write(uint64_t offset, std::span<const std::byte> data) const = 0;
  // Makes all of it read as zeroes, by the device's own means where it has such.
  [[nodiscard]] virtual Status Zero(uint64_t offset, uint64_t length) const = 0;
  // Makes all completed writes durable.
  [[nodiscard]] virtual Status Flush() const = 0;
  // The first byte from `offset` on that is not known to be zero, or size().
  // One thread at a time.
  [[nodiscard]] virtual uint64_t NextData(uint64_t offset) const = 0;

  [[nodiscard]] virtual uint64_t size() const = 0;  // when it was opened
  [[nodiscard]] virtual const std::string& name() const = 0;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CONTENT_DEVICE_H_
