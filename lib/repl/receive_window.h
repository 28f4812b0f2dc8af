// SPDX-License-Identifier: GPL-2.0
// What a receiver has taken and not yet written: written, and made known as durable, as
// a whole.  See doc/delta-format.md, "Receiving".
//
// Thread rule: one thread.
#ifndef DDSNAP_REPL_RECEIVE_WINDOW_H_
#define DDSNAP_REPL_RECEIVE_WINDOW_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "repl/aligned_bytes.h"
#include "repl/content_device.h"
#include "repl/extent_work.h"
#include "repl/receive_delta.h"

namespace ddsnap::repl {

class ReceiveWindow {
 public:
  // `state`: position, limit and identities of the receive; kept up to date here.
  ReceiveWindow(const ContentDevice& device, ReceiveLog& log, const DeltaHead& head,
                const ReceiveOptions& options, ReceiveState& state);

  // Takes an extent, whose content is decoded unless the device has it already.
  [[nodiscard]] Status Add(const ExtentSlot& slot);
  // Bytes from the window's end to `end` shall be zero.
  [[nodiscard]] Status AddGap(uint64_t end);
  // Writes what there is; then everything below `end` is the target's.
  [[nodiscard]] Status Close(uint64_t end);
  [[nodiscard]] Status Close() { return Close(end_); }

  [[nodiscard]] uint64_t end() const { return end_; }
  // Device, log or callback failed: nothing more can be written.
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Item {
    Extent extent;        // a gap: of kind zero, with no sums
    uint64_t length = 0;  // of a gap more than an extent may have
    size_t at = 0;        // of its content in buffer_, unless it is zero
    bool write = false;
    bool gap = false;
  };

  [[nodiscard]] std::span<const std::byte> ContentOf(const Item& item) const;
  [[nodiscard]] Status CloseIfDue();
  [[nodiscard]] Status Write(uint64_t end);
  [[nodiscard]] Status WriteItems();
  // True if it changes state_.first.
  bool NoteFirst();
  [[nodiscard]] Status PrepareFirst();
  [[nodiscard]] Status SaveRedo();
  [[nodiscard]] bool NeedsRedo() const;

  const ContentDevice& device_;
  ReceiveLog& log_;
  const DeltaHead& head_;
  const ReceiveOptions& options_;
  ReceiveState& state_;
  std::vector<Item> items_;
  const size_t most_;    // bytes of buffer_
  AlignedBytes buffer_;  // grows as it is needed
  size_t used_ = 0;      // of buffer_
  uint64_t zeroes_ = 0;  // bytes of gaps
  uint64_t end_;         // of what was taken
  bool begun_;           // the log knows of this receive
  bool saved_;           // and of no higher position than the state: one may have been taken back
  bool broken_ = false;
  Clock::time_point opened_;  // when the first item came
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RECEIVE_WINDOW_H_
