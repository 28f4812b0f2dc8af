// SPDX-License-Identifier: GPL-2.0
// A device or file whose content is read or written by several threads at
// once, past the page cache where that can be done.
//
// Thread rule: Read and Write may be called by any number of threads at once.
#ifndef DDSNAP_REPL_CONTENT_DEVICE_H_
#define DDSNAP_REPL_CONTENT_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap::repl {

class ContentDevice {
 public:
  // For reading.
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> OpenToRead(const std::string& path);
  // For reading and writing, by nobody else: EBUSY if the device is mounted,
  // part of another device or otherwise held, or the file is locked or behind
  // a loop device.
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> OpenToChange(
      const std::string& path);

  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) const;
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) const;
  // Makes all completed writes durable.
  [[nodiscard]] Status Flush() const;

  [[nodiscard]] uint64_t size() const { return size_; }  // when it was opened
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  ContentDevice() = default;
  [[nodiscard]] static Result<std::unique_ptr<ContentDevice>> Open(const std::string& path,
                                                                   bool change);
  [[nodiscard]] int FdFor(uint64_t offset, const std::byte* data, size_t size) const;

  std::string name_;
  uint64_t size_ = 0;
  Fd cached_;  // through the page cache: for what is not aligned
  Fd direct_;  // O_DIRECT; none where the file system has no such thing
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CONTENT_DEVICE_H_
