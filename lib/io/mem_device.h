// SPDX-License-Identifier: GPL-2.0
// A device in memory, for tests and for reading stores without touching them.
#ifndef DDSNAP_IO_MEM_DEVICE_H_
#define DDSNAP_IO_MEM_DEVICE_H_

#include <string>
#include <vector>

#include "io/block_device.h"

namespace ddsnap {

class MemDevice : public BlockDevice {
 public:
  explicit MemDevice(uint64_t size, std::string name = "memory");

  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) override;
  [[nodiscard]] Status Flush() override { return {}; }
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] const std::string& name() const override { return name_; }

  [[nodiscard]] std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::string name_;
};

}  // namespace ddsnap

#endif  // DDSNAP_IO_MEM_DEVICE_H_
