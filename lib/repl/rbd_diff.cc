// SPDX-License-Identifier: GPL-2.0
#include "repl/rbd_diff.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "repl/extent_work.h"

namespace ddsnap::repl {
namespace {

constexpr std::string_view kBanner = "rbd diff v1\n";
constexpr uint32_t kMaxName = 4096;
constexpr char kFrom = 'f', kTo = 't', kSize = 's', kWrite = 'w', kZero = 'z', kEndTag = 'e';

struct RawPlace {
  Le64 offset;
  Le64 length;
};
static_assert(sizeof(RawPlace) == 16);

template <typename T>
std::span<const std::byte> BytesOf(const T& object) {
  return std::as_bytes(std::span(&object, 1));
}

Status PutTag(ByteSink& out, char tag) { return out.Write(BytesOf(tag)); }

Status PutName(ByteSink& out, char tag, const std::string& name) {
  if (Status s = PutTag(out, tag); !s) return s;
  const Le32 length = static_cast<uint32_t>(name.size());
  if (Status s = out.Write(BytesOf(length)); !s) return s;
  return out.Write(std::as_bytes(std::span(name)));
}

Status PutPlace(ByteSink& out, char tag, uint64_t offset, uint64_t length) {
  if (Status s = PutTag(out, tag); !s) return s;
  return out.Write(BytesOf(RawPlace{offset, length}));
}

std::string NameOf(const std::string& given, const SnapshotId& id) {
  if (!given.empty()) return given;
  return id.tag == kOriginTag ? "ddsnap-origin" : "ddsnap-" + std::to_string(id.tag);
}

// Epochs of snapshots that have only names: equal names, equal epochs.
Epoch EpochOf(const std::string& name) {
  const Sum sum = Checksum(std::as_bytes(std::span(name)));
  Le64 number;
  std::memcpy(&number, sum.data(), sizeof number);
  return (number >> 1) | 1;  // never 0, the origin's
}

}  // namespace

Result<RbdSummary> ExportRbd(ByteSource& delta, const ContentDevice* base, ByteSink& out,
                             const RbdNames& names) {
  auto reader = DeltaReader::Open(delta);
  if (!reader) return Pass(reader);
  const DeltaHead& head = reader->head();
  const StreamHead& what = head.common;
  if (head.begin != 0) return Fail(EINVAL, delta.name() + ": a resumed stream, not the whole");
  if (base != nullptr && base->size() < what.base.size) {
    return Fail(EINVAL, base->name() + ": is smaller than the base of " + delta.name());
  }
  if (Status s = out.Write(std::as_bytes(std::span(kBanner))); !s) return Pass(s);
  if (!what.base.none) {
    if (Status s = PutName(out, kFrom, NameOf(names.from, what.base)); !s) return Pass(s);
  }
  if (Status s = PutName(out, kTo, NameOf(names.to, what.target)); !s) return Pass(s);
  if (Status s = PutTag(out, kSize); !s) return Pass(s);
  const Le64 size = what.target.size;
  if (Status s = out.Write(BytesOf(size)); !s) return Pass(s);
  const ExtentWork work(head, delta.name());
  ExtentSlot slot;
  for (;;) {
    auto more = reader->Next(&slot.extent, &slot.record);
    if (!more) return Pass(more);
    if (!*more) break;
    const Extent& extent = slot.extent;
    if (Status s = work.CheckPayload(slot); !s) return Pass(s);
    if (extent.kind == Extent::Kind::kZero) {
      if (Status s = PutPlace(out, kZero, extent.offset, extent.length); !s) return Pass(s);
      continue;
    }
    if (extent.kind == Extent::Kind::kDiff) {
      if (base == nullptr) {
        return Fail(EINVAL,
                    delta.name() + ": holds differences: name the device that holds its base");
      }
      const auto old = Room(slot.current, extent.base_length);
      if (Status s = base->Read(extent.offset, old); !s) return Pass(s);
      if (Checksum(old) != extent.base_sum) return work.NotTheBase(extent, *base);
    }
    if (Status s = work.Decode(slot); !s) return Pass(s);
    if (Status s = PutPlace(out, kWrite, extent.offset, extent.length); !s) return Pass(s);
    if (Status s = out.Write(slot.content); !s) return Pass(s);
  }
  if (Status s = PutTag(out, kEndTag); !s) return Pass(s);
  return RbdSummary{reader->extents(), reader->bytes()};
}

namespace {

// Reads a diff record by record and writes the chunks that they touch.
class Importer {
 public:
  Importer(ByteSource& diff, const ContentDevice* base, ByteSink& out, const RbdImport& options)
      : diff_(diff),
        base_(base),
        out_(out),
        options_(options),
        encoder_(options.mode, options.level) {}

  [[nodiscard]] Result<RbdSummary> Run() {
    char banner[kBanner.size()];
    if (Status s = Get(std::as_writable_bytes(std::span(banner))); !s) return Pass(s);
    if (std::string_view(banner, sizeof banner) != kBanner) {
      return Fail(EBADMSG, diff_.name() + ": not an RBD diff of version 1");
    }
    for (;;) {
      char tag = 0;
      if (Status s = Get(std::as_writable_bytes(std::span(&tag, 1))); !s) return Pass(s);
      if (tag == kEndTag) break;
      if (Status s = Take(tag); !s) return Pass(s);
    }
    if (Status s = Begin(); !s) return Pass(s);
    if (Status s = PutExtent(); !s) return Pass(s);
    if (Status s = writer_->Finish(); !s) return Pass(s);
    return summary_;
  }

 private:
  [[nodiscard]] std::unexpected<Error> Damaged(const std::string& why) const {
    return Fail(EBADMSG,
                diff_.name() + ": damaged before byte " + std::to_string(at_) + ": " + why);
  }

  [[nodiscard]] Status Get(std::span<std::byte> out) {
    auto n = diff_.Read(out);
    if (!n) return Pass(n);
    at_ += *n;
    if (*n == out.size()) return {};
    return Fail(EBADMSG, diff_.name() + ": truncated at byte " + std::to_string(at_));
  }
  template <typename T>
  [[nodiscard]] Status GetObject(T* out) {
    return Get(std::as_writable_bytes(std::span(out, 1)));
  }

  [[nodiscard]] Status Take(char tag) {
    switch (tag) {
      case kFrom:
        return GetName(&from_);
      case kTo:
        return GetName(&to_);
      case kSize: {
        Le64 size;
        if (Status s = GetObject(&size); !s) return s;
        if (writer_ || size > kMaxSize) return Damaged("impossible size");
        size_ = size;
        return {};
      }
      case kWrite:
      case kZero:
        return TakePlace(tag);
      default:
        return Damaged("unknown kind of record");
    }
  }

  [[nodiscard]] Status GetName(std::optional<std::string>* name) {
    Le32 length;
    if (Status s = GetObject(&length); !s) return s;
    if (writer_ || length > kMaxName) return Damaged("impossible name of a snapshot");
    name->emplace(length, '\0');
    return Get(std::as_writable_bytes(std::span(**name)));
  }

  // The head, once all is known that goes into it.
  [[nodiscard]] Status Begin() {
    if (writer_) return {};
    if (!size_) return Damaged("it names no size");
    if (from_.has_value() != (base_ != nullptr)) {
      return Fail(EINVAL, diff_.name() + (from_ ? ": begins from snapshot " + *from_ +
                                                      ": name the device that holds it"
                                                : ": has no base: leave BASE_DEV out"));
    }
    DeltaHead head;
    head.common.volume = options_.volume;
    head.common.chunk_size = options_.chunk_size;
    head.common.made_ns = options_.now_ns;
    base_size_ = base_ != nullptr ? base_->size() : 0;
    head.common.base = base_ == nullptr ? SnapshotId{.none = true}
                                        : SnapshotId{.epoch = EpochOf(*from_), .size = base_size_};
    head.common.target = {
        .epoch = to_ ? EpochOf(*to_) : 0, .tag = to_ ? 0 : kOriginTag, .size = *size_};
    writer_.emplace(out_, head);
    return writer_->Begin();
  }

  [[nodiscard]] Status TakePlace(char tag) {
    RawPlace raw;
    if (Status s = GetObject(&raw); !s) return s;
    if (Status s = Begin(); !s) return s;
    uint64_t offset = raw.offset, length = raw.length;
    if (offset < end_ || offset > *size_ || length > *size_ - offset) {
      return Damaged("extent out of order, or past the end");
    }
    end_ = offset + length;
    // Without a base all that is not written is zero: also what is left of the last chunk.
    if (tag == kZero && base_ == nullptr) return {};
    while (length > 0) {
      if (Status s = Reach(offset); !s) return s;
      const uint64_t n = std::min(length, extent_.offset + kMaxExtent - offset);
      if (Status s = Grow(offset + n); !s) return s;
      const auto part = std::span(content_).subspan(static_cast<size_t>(offset - extent_.offset),
                                                    static_cast<size_t>(n));
      if (tag == kZero) {
        std::ranges::fill(part, std::byte{0});
      } else if (Status s = Get(part); !s) {
        return s;
      }
      offset += n;
      length -= n;
    }
    return {};
  }

  // Has the extent under way begin so that it can hold the byte at `offset`.
  [[nodiscard]] Status Reach(uint64_t offset) {
    const uint64_t chunk = offset / options_.chunk_size * options_.chunk_size;
    const bool open = extent_.length > 0;
    if (open && chunk <= extent_.offset + extent_.length && offset < extent_.offset + kMaxExtent)
      return {};
    if (Status s = PutExtent(); !s) return s;
    extent_.offset = chunk;
    return {};
  }

  // Has it end with the chunk in which byte `end` - 1 is; what is new holds the base's content.
  [[nodiscard]] Status Grow(uint64_t end) {
    const uint64_t chunks = (end + options_.chunk_size - 1) / options_.chunk_size;
    const uint64_t whole = std::min(chunks * options_.chunk_size, *size_);
    const auto length = static_cast<uint32_t>(whole - extent_.offset);
    if (length <= extent_.length) return {};
    if (content_.empty()) content_ = AlignedBytes(kMaxExtent);
    if (old_.empty()) old_ = AlignedBytes(kMaxExtent);
    const uint64_t at = extent_.offset + extent_.length;
    const auto fresh = std::span(old_).subspan(extent_.length, length - extent_.length);
    std::ranges::fill(fresh, std::byte{0});
    const size_t in_base = static_cast<size_t>(Clip(at, fresh.size(), base_size_));
    if (in_base > 0) {
      if (Status s = base_->Read(at, fresh.first(in_base)); !s) return s;
    }
    std::ranges::copy(fresh, content_.begin() + extent_.length);
    extent_.length = length;
    return {};
  }

  [[nodiscard]] Status PutExtent() {
    if (extent_.length == 0) return {};
    Extent extent = extent_;
    extent_ = {};
    extent.base_length = static_cast<uint32_t>(Clip(extent.offset, extent.length, base_size_));
    const auto content = std::span(content_).first(extent.length);
    auto payload = encoder_.Encode(&extent, std::span(old_).first(extent.base_length), content);
    if (!payload) return Pass(payload);
    // Without a base zeroes are what no extent names.
    if (base_ == nullptr && extent.kind == Extent::Kind::kZero) return {};
    if (extent.base_length == extent.length && extent.base_sum == extent.target_sum) return {};
    ++summary_.extents;
    summary_.bytes += extent.length;
    return writer_->Add(extent, *payload);
  }

  ByteSource& diff_;
  const ContentDevice* const base_;
  ByteSink& out_;
  const RbdImport& options_;
  ExtentEncoder encoder_;
  std::optional<DeltaWriter> writer_;
  std::optional<std::string> from_, to_;
  std::optional<uint64_t> size_;
  uint64_t base_size_ = 0;
  uint64_t at_ = 0;   // in the diff
  uint64_t end_ = 0;  // of the last record's bytes
  Extent extent_;     // under way; length 0: none
  AlignedBytes content_, old_;
  RbdSummary summary_;
};

}  // namespace

Result<RbdSummary> ImportRbd(ByteSource& diff, const ContentDevice* base, ByteSink& out,
                             const RbdImport& options) {
  return Importer(diff, base, out, options).Run();
}

}  // namespace ddsnap::repl
