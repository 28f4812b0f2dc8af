// SPDX-License-Identifier: GPL-2.0
#include "repl/receive_window.h"

#include <algorithm>
#include <cstring>

namespace ddsnap::repl {
namespace {

// Gaps of one window: a device that can only write zeroes takes seconds for it.
constexpr uint64_t kMaxZeroes = uint64_t{1} << 30;
constexpr size_t kMaxItems = 8192;

}  // namespace

ReceiveWindow::ReceiveWindow(const ContentDevice& device, ReceiveLog& log, const DeltaHead& head,
                             const ReceiveOptions& options, ReceiveState& state)
    : device_(device),
      log_(log),
      head_(head),
      options_(options),
      state_(state),
      most_(std::max<uint64_t>(options.window_bytes, kMaxExtent)),
      end_(state.position),
      begun_(state.position != 0 || state.limit != 0),
      saved_(state.position != 0) {}

Status ReceiveWindow::Add(const ExtentSlot& slot) {
  Item item;
  item.extent = slot.extent;
  item.length = slot.extent.length;
  item.write = !slot.already;
  const bool zero = slot.extent.kind == Extent::Kind::kZero;
  if (item.write && !zero) {
    if (most_ - used_ < item.length) {
      if (Status s = Close(); !s) return s;
    }
    if (buffer_.size() - used_ < item.length) {
      buffer_.resize(std::min(most_, std::max(2 * buffer_.size(), used_ + item.length)));
    }
    item.at = used_;
    std::memcpy(buffer_.data() + used_, slot.content.data(), slot.content.size());
    // The next one begins where O_DIRECT likes it.
    used_ += (item.length + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
    used_ = std::min(used_, buffer_.size());
  }
  if (items_.empty()) opened_ = Clock::now();
  items_.push_back(item);
  end_ = std::max(end_, slot.extent.offset + slot.extent.length);
  return CloseIfDue();
}

Status ReceiveWindow::AddGap(uint64_t end) {
  const uint64_t most = std::max(kMaxZeroes, head_.common.target.size >> 8);
  while (end_ < end) {
    Item item;
    item.length = std::min(end - end_, most - zeroes_);
    item.write = item.gap = true;
    item.extent.offset = end_;
    item.extent.kind = Extent::Kind::kZero;
    if (items_.empty()) opened_ = Clock::now();
    items_.push_back(item);
    zeroes_ += item.length;
    end_ += item.length;
    if (zeroes_ == most) {
      if (Status s = Close(); !s) return s;
    } else if (Status s = CloseIfDue(); !s) {
      return s;
    }
  }
  return {};
}

Status ReceiveWindow::CloseIfDue() {
  const bool old = Clock::now() - opened_ >= std::chrono::nanoseconds(options_.window_ns);
  return old || items_.size() >= kMaxItems ? Close() : Status();
}

Status ReceiveWindow::Close(uint64_t end) {
  if (end <= state_.position) return {};
  Status s = Write(end);
  if (!s) broken_ = true;
  return s;
}

std::span<const std::byte> ReceiveWindow::ContentOf(const Item& item) const {
  return std::span(buffer_).subspan(item.at, item.length);
}

// The order of these steps is what makes a crash at any of them harmless.
Status ReceiveWindow::Write(uint64_t end) {
  const bool writes = std::ranges::any_of(items_, &Item::write);
  if (!begun_) {
    if (Status s = PrepareFirst(); !s) return s;
  }
  const bool redo = NeedsRedo();
  if (redo) {
    if (Status s = SaveRedo(); !s) return s;
  }
  const bool lower = NoteFirst();
  if (writes && (!saved_ || !state_.written || lower || end_ > state_.limit)) {
    state_.limit = std::max(state_.limit, end_);
    state_.written = true;
    if (Status s = log_.Save(state_); !s) return s;
    begun_ = saved_ = true;
  }
  if (writes) {
    if (Status s = WriteItems(); !s) return s;
  }
  // Also what was there already: it may sit in a cache, written by who was killed.
  if (Status s = device_.Flush(); !s) return s;
  for (const Item& item : items_) {
    if (item.gap) continue;
    state_.last = {item.extent.offset, item.extent.length, item.extent.target_sum};
  }
  state_.position = end;
  state_.limit = std::max(state_.limit, end);
  if (Status s = log_.Save(state_); !s) return s;
  begun_ = saved_ = true;
  if (redo) {
    if (Status s = log_.DropRedo(); !s) return s;
  }
  items_.clear();
  used_ = 0;
  zeroes_ = 0;
  end_ = end;
  return options_.acknowledged ? options_.acknowledged(end) : Status();
}

// Before it is written: whoever is killed then finds it there, and does not write it again.
bool ReceiveWindow::NoteFirst() {
  const auto lowest = std::ranges::find_if(items_, &Item::write);
  if (lowest == items_.end()) return false;
  const Extent& extent = lowest->extent;
  if (state_.first && state_.first->offset <= extent.offset) return false;
  state_.first = {extent.offset, extent.length, extent.target_sum};
  return true;
}

Status ReceiveWindow::PrepareFirst() {
  if (!options_.before) return {};
  auto tag = options_.before(head_);
  if (!tag) return Pass(tag);
  state_.before = *tag;
  return {};
}

bool ReceiveWindow::NeedsRedo() const {
  return std::ranges::any_of(items_, [](const Item& item) {
    return item.write && item.extent.kind == Extent::Kind::kDiff;
  });
}

Status ReceiveWindow::SaveRedo() {
  MemorySink sink;
  DeltaWriter writer(sink, {.common = head_.common, .expected = 0, .begin = state_.position});
  if (Status s = writer.Begin(); !s) return s;
  for (const Item& item : items_) {
    if (!item.write || item.extent.kind != Extent::Kind::kDiff) continue;
    Extent raw = item.extent;
    raw.kind = Extent::Kind::kRaw;
    raw.payload_sum = raw.target_sum;
    if (Status s = writer.Add(raw, ContentOf(item)); !s) return s;
  }
  if (Status s = writer.Finish(); !s) return s;
  return log_.SaveRedo(sink.bytes());
}

Status ReceiveWindow::WriteItems() {
  for (const Item& item : items_) {
    if (!item.write) continue;
    Status s = item.extent.kind == Extent::Kind::kZero
                   ? device_.Zero(item.extent.offset, item.length)
                   : device_.Write(item.extent.offset, ContentOf(item));
    if (!s) return s;
  }
  return {};
}

}  // namespace ddsnap::repl
