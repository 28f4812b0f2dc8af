// SPDX-License-Identifier: GPL-2.0
#include "repl/extent_work.h"

#include <cerrno>

namespace ddsnap::repl {
namespace {

std::unexpected<Error> Damaged(const std::string& delta, const Record& record,
                               const std::string& why) {
  return Fail(EBADMSG,
              delta + ": damaged at byte " + std::to_string(record.payload_offset()) + ": " + why);
}

}  // namespace

Status ExtentWork::CheckPayload(const ExtentSlot& slot) const {
  if (ExtentDecoder::PayloadIsGood(slot.extent, slot.record.payload)) return {};
  return Damaged(delta_, slot.record, "checksum of the payload does not match");
}

Status ExtentWork::Compare(ExtentSlot& slot, const ContentDevice& device) const {
  const Extent& extent = slot.extent;
  const auto current = Room(slot.current, extent.length);
  if (Status s = device.Read(extent.offset, current); !s) return s;
  const Sum sum = Checksum(current);
  slot.already = sum == extent.target_sum;
  const bool whole = extent.base_length == extent.length;
  slot.is_base = !head_.common.base.none && head_.base_sums &&
                 (whole ? sum : Checksum(current.first(extent.base_length))) == extent.base_sum;
  return {};
}

std::unexpected<Error> ExtentWork::NotTheBase(const Extent& extent,
                                              const ContentDevice& device) const {
  const bool full = head_.common.base.none;
  return Fail(ESTALE, device.name() + (full ? ": is not the target of " : ": is not the base of ") +
                          delta_ + " (" + Describe(full ? head_.common.target : head_.common.base) +
                          "): other content in bytes " + std::to_string(extent.offset) + " to " +
                          std::to_string(extent.offset + extent.length - 1));
}

Status ExtentWork::Decode(ExtentSlot& slot) const {
  const bool diff = slot.extent.kind == Extent::Kind::kDiff;  // Compare has read the base
  const auto base = std::span(slot.current).first(diff ? slot.extent.base_length : 0);
  // A raw payload is the content.
  const bool raw = slot.extent.kind == Extent::Kind::kRaw;
  const auto room = Room(slot.decoded, raw ? 0 : slot.extent.length);
  auto content = slot.decoder.Decode(slot.extent, slot.record.payload, base, room);
  if (!content) return Damaged(delta_, slot.record, content.error().text);
  slot.content = *content;
  return {};
}

Status CheckRoom(const ContentDevice& device, const DeltaHead& head, const std::string& delta) {
  const uint64_t needed = head.common.target.size;
  if (device.size() >= needed) return {};
  return Fail(ENOSPC, device.name() + ": too small: it has " + std::to_string(device.size()) +
                          " bytes, the target of " + delta + " has " + std::to_string(needed));
}

}  // namespace ddsnap::repl
