// SPDX-License-Identifier: GPL-2.0
#include "repl/record.h"

#include <algorithm>
#include <cerrno>

namespace ddsnap::repl {
namespace {

template <typename T>
std::span<const std::byte> BytesOf(const T& object) {
  return std::as_bytes(std::span(&object, 1));
}

Sum InitialSum(const RawBegin& begin) {
  Sum sum;
  static_assert(sizeof begin == sizeof sum);
  std::memcpy(sum.data(), &begin, sizeof sum);
  return sum;
}

Sum RecordSum(const Sum& previous, const RawRecord& head, std::span<const std::byte> body) {
  return Checksum({BytesOf(previous), BytesOf(head).first(kSummedHead), body});
}

}  // namespace

RecordWriter::RecordWriter(ByteSink& sink, const Magic& magic, uint32_t features)
    : sink_(sink), begin_{magic, kVersion, features}, previous_(InitialSum(begin_)) {}

Status RecordWriter::Put(uint32_t type, std::span<const std::byte> body,
                         std::span<const std::byte> payload, uint32_t flags) {
  RawRecord head{
      type,    flags, static_cast<uint32_t>(body.size()), static_cast<uint32_t>(payload.size()),
      number_, {}};
  head.sum = RecordSum(previous_, head, body);
  if (number_ == 0) {
    if (Status s = sink_.Write(BytesOf(begin_)); !s) return s;
  }
  previous_ = head.sum;
  ++number_;
  if (Status s = sink_.Write(BytesOf(head)); !s) return s;
  if (Status s = sink_.Write(body); !s) return s;
  return payload.empty() ? Status() : sink_.Write(payload);
}

std::unexpected<Error> RecordReader::Damaged(uint64_t offset, const std::string& why) const {
  return Fail(EBADMSG, source_.name() + ": damaged at byte " + std::to_string(offset) + ": " + why);
}

Status RecordReader::ReadExactly(std::span<std::byte> out) {
  auto n = source_.Read(out);
  if (!n) return Pass(n);
  offset_ += *n;
  if (*n < out.size()) {
    return Fail(EBADMSG, source_.name() + ": truncated at byte " + std::to_string(offset_));
  }
  return {};
}

Status RecordReader::Begin() {
  RawBegin begin;
  if (Status s = ReadExactly(std::as_writable_bytes(std::span(&begin, 1))); !s) return s;
  if (begin.magic != magic_) {
    return Fail(EBADMSG, source_.name() + ": not a " + what_ + ": bad magic at byte 0");
  }
  if (begin.version != kVersion) {
    return Fail(ENOTSUP, source_.name() + ": " + what_ + " of version " +
                             std::to_string(begin.version) + ": this program reads version " +
                             std::to_string(kVersion) + " (byte 8)");
  }
  features_ = begin.features;
  if ((features_ & ~known_) != 0) {
    return Fail(ENOTSUP, source_.name() + ": " + what_ +
                             " uses features that this program does not know (byte 12)");
  }
  previous_ = InitialSum(begin);
  begun_ = true;
  return {};
}

Status RecordReader::ReadOne(Record* record, RawRecord* raw) {
  record->offset = offset_;
  if (Status s = ReadExactly(std::as_writable_bytes(std::span(raw, 1))); !s) return s;
  if (raw->body_size > kMaxBody || raw->payload_size > kMaxExtent) {
    return Damaged(record->offset, "impossible size of a record");
  }
  record->type = raw->type;
  record->body.resize(raw->body_size);
  if (Status s = ReadExactly(record->body); !s) return s;
  if (raw->sum != RecordSum(previous_, *raw, record->body)) {
    return Damaged(record->offset,
                   "checksum of record " + std::to_string(number_) + " does not match");
  }
  if (raw->number != number_) return Damaged(record->offset, "record out of order");
  previous_ = raw->sum;
  ++number_;
  record->payload.resize(raw->payload_size);
  return ReadExactly(record->payload);
}

Status RecordReader::Next(std::span<const uint32_t> known, Record* record) {
  if (!begun_) {
    if (Status s = Begin(); !s) return s;
  }
  for (;;) {
    RawRecord raw;
    if (Status s = ReadOne(record, &raw); !s) return s;
    if (std::ranges::find(known, record->type) != known.end()) return {};
    if ((raw.flags & kSkippable) == 0) {
      return Fail(ENOTSUP, source_.name() + ": unknown kind of record at byte " +
                               std::to_string(record->offset));
    }
  }
}

Status RecordReader::AtEnd() {
  std::byte more;
  auto n = source_.Read(std::span(&more, 1));
  if (!n) return Pass(n);
  if (*n != 0) return Damaged(offset_, "data after the end");
  return {};
}

}  // namespace ddsnap::repl
