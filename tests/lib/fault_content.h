// SPDX-License-Identifier: GPL-2.0
// A device and a receive log in memory that lose power, or are killed, after a given
// number of operations.
#ifndef DDSNAP_TESTS_LIB_FAULT_CONTENT_H_
#define DDSNAP_TESTS_LIB_FAULT_CONTENT_H_

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <random>
#include <vector>

#include "repl/content_device.h"
#include "repl/receive_state.h"

namespace ddsnap::test {

// Shared by what fails together.
struct Power {
  uint64_t left = UINT64_MAX;  // operations that still succeed
  bool kill = false;           // a process is killed, not the machine: caches survive
  std::mt19937_64 random{1};
  std::mutex mutex;

  [[nodiscard]] bool Spend() {
    const std::lock_guard lock(mutex);
    if (left == 0) return false;
    --left;
    return true;
  }
  [[nodiscard]] static std::unexpected<Error> Gone() { return Fail(EIO, "power is gone"); }
};

class FaultContent : public repl::ContentDevice {
 public:
  FaultContent(std::vector<std::byte> content, Power& power)
      : power_(power), durable_(content), cached_(std::move(content)) {}

  Status Read(uint64_t offset, std::span<std::byte> out) const override {
    const std::lock_guard lock(mutex_);
    if (offset > cached_.size() || out.size() > cached_.size() - offset)
      return Fail(EIO, "past the end");
    std::copy_n(cached_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  Status Write(uint64_t offset, std::span<const std::byte> data) const override {
    const std::lock_guard lock(mutex_);
    if (offset > cached_.size() || data.size() > cached_.size() - offset)
      return Fail(EIO, "past the end");
    const bool alive = power_.Spend();
    size_t size = data.size();
    if (!alive) size = power_.left == 0 && !dead_ ? power_.random() % (size + 1) : 0;
    dead_ = dead_ || !alive;
    std::copy_n(data.begin(), size, cached_.begin() + static_cast<ptrdiff_t>(offset));
    pending_.push_back({offset, size});
    return alive ? Status() : Status(Power::Gone());
  }
  Status Zero(uint64_t offset, uint64_t length) const override {
    return Write(offset, std::vector<std::byte>(length));
  }
  Status Flush() const override {
    const std::lock_guard lock(mutex_);
    if (!power_.Spend()) {
      dead_ = true;
      return Power::Gone();
    }
    durable_ = cached_;
    pending_.clear();
    return {};
  }
  uint64_t NextData(uint64_t offset) const override { return std::min<uint64_t>(offset, size()); }
  uint64_t size() const override { return cached_.size(); }
  const std::string& name() const override { return name_; }

  // What is there after the fault: of each sector that was not flushed, old or new.
  [[nodiscard]] std::vector<std::byte> After() {
    if (power_.kill) return cached_;
    std::vector<std::byte> content = durable_;
    for (const auto& [offset, size] : pending_) {
      for (uint64_t at = offset; at < offset + size; at += 512) {
        const size_t n = std::min<uint64_t>(512, offset + size - at);
        if (power_.random() % 2 == 0) std::memcpy(content.data() + at, cached_.data() + at, n);
      }
    }
    return content;
  }

 private:
  Power& power_;
  mutable std::mutex mutex_;
  mutable std::vector<std::byte> durable_;
  mutable std::vector<std::byte> cached_;
  mutable std::vector<std::pair<uint64_t, uint64_t>> pending_;
  mutable bool dead_ = false;
  std::string name_ = "device";
};

class FaultLog : public repl::ReceiveLog {
 public:
  explicit FaultLog(Power& power) : power_(&power) {}
  void Use(Power& power) { power_ = &power; }

  Result<std::optional<repl::ReceiveState>> Load() override {
    if (text.empty()) return std::nullopt;
    auto state = repl::ParseState(text);
    if (!state) return Pass(state);
    return *state;
  }
  Status Save(const repl::ReceiveState& state) override {
    return Replace(&text, repl::FormatState(state));
  }
  Result<std::vector<std::byte>> LoadRedo() override { return redo; }
  Status SaveRedo(std::span<const std::byte> bytes) override {
    return Replace(&redo, std::vector<std::byte>(bytes.begin(), bytes.end()));
  }
  Status DropRedo() override { return Replace(&redo, std::vector<std::byte>()); }

  std::string text;
  std::vector<std::byte> redo;

 private:
  // Old or new, when power goes.
  template <typename T>
  Status Replace(T* what, T by) {
    const bool alive = power_->Spend();
    if (alive || power_->random() % 2 == 0) *what = std::move(by);
    return alive ? Status() : Status(Power::Gone());
  }
  Power* power_;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_LIB_FAULT_CONTENT_H_
