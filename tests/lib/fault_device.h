// SPDX-License-Identifier: GPL-2.0
// A disk with a volatile write cache, and the switch that cuts its power, or
// kills the program that uses it.
//
// What was written since the last flush may, after a cut, be there or not: each
// 512-byte sector comes out as it was at the last flush or as any of the writes
// since then left it, independently of every other.  Who kills only the
// program finds everything that it had written, flushed or not.
#ifndef DDSNAP_TESTS_LIB_FAULT_DEVICE_H_
#define DDSNAP_TESTS_LIB_FAULT_DEVICE_H_

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/block_device.h"

namespace ddsnap {

// Shared by the devices of one machine: they lose power together.
class PowerSwitch {
 public:
  // The write number `at` (from 0) does not complete, and nothing after it.
  void CutAt(uint64_t at) { cut_at_ = at; }
  // The program under test does not come to do its write or flush number `at`
  // (from 0), nor anything after it.
  void KillAt(uint64_t at) { kill_at_ = at; }
  [[nodiscard]] bool off() const { return off_; }
  [[nodiscard]] uint64_t writes() const { return writes_; }
  [[nodiscard]] uint64_t acts() const { return acts_; }
  // What is done meanwhile is not the program's.
  void Elsewhere(bool yes) { elsewhere_ = yes; }
  // Before a write or flush; false if the program is dead.
  bool Act() {
    if (elsewhere_) return true;
    if (!off_ && acts_ == kill_at_) off_ = true;
    if (!off_) ++acts_;
    return !off_;
  }
  // Counts a write; false once the power is off.
  bool Write() {
    if (!off_ && writes_ == cut_at_) off_ = true;
    if (!off_) ++writes_;
    return !off_;
  }
  void On() {
    off_ = false;
    cut_at_ = ~uint64_t{0};
    kill_at_ = ~uint64_t{0};
  }

 private:
  uint64_t cut_at_ = ~uint64_t{0};
  uint64_t kill_at_ = ~uint64_t{0};
  uint64_t writes_ = 0;
  uint64_t acts_ = 0;
  bool off_ = false;
  bool elsewhere_ = false;
};

// Bytes of which few are not zero.
class SparseBytes {
 public:
  void Read(uint64_t offset, std::span<std::byte> out) const;
  void Write(uint64_t offset, std::span<const std::byte> data);
  // All from `offset` on are zero again.
  void Cut(uint64_t offset);

 private:
  static constexpr uint64_t kPiece = 4096;
  std::unordered_map<uint64_t, std::array<std::byte, kPiece>> pieces_;
};

class FaultDevice : public BlockDevice {
 public:
  static constexpr size_t kSector = 512;

  FaultDevice(PowerSwitch& power, uint64_t size, std::string name)
      : power_(power), size_(size), name_(std::move(name)) {}

  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) override;
  [[nodiscard]] Status Flush() override;
  [[nodiscard]] uint64_t size() const override { return size_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

  // Somebody makes the device larger or smaller, at once and for good.
  void SetSize(uint64_t size);

  // Decides what survived.  The device then holds just that.
  void Settle(std::mt19937_64& random);

 private:
  using Sector = std::vector<std::byte>;
  PowerSwitch& power_;
  uint64_t size_;
  SparseBytes durable_;
  SparseBytes now_;
  std::unordered_map<uint64_t, std::vector<Sector>> cached_;  // sector -> its writes since
  std::string name_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TESTS_LIB_FAULT_DEVICE_H_
