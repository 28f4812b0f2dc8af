// SPDX-License-Identifier: GPL-2.0
// Frames on a stream: struct ddsnap_frame and its payload.  FrameReader turns
// bytes into checked frames, FrameWriter the reverse; both keep what a
// nonblocking socket did not take or give yet.
//
// Nothing of a frame is used before all of it is there and its magic, type and
// length are right.  Thread rule: one thread at a time for each object.
#ifndef DDSNAP_WIRE_FRAME_H_
#define DDSNAP_WIRE_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "wire/messages.h"

namespace ddsnap::wire {

// A checked frame.  `payload` points into the reader's buffer and is valid until its
// next call.
struct Frame {
  uint32_t type = 0;
  uint64_t sequence = 0;
  std::span<const std::byte> payload;
};

class FrameReader {
 public:
  enum class Input : uint8_t { kData, kNothing, kClosed };

  // Reads from `fd` once.  kClosed at the end of the stream: EPROTO if that is
  // inside a frame.
  [[nodiscard]] Result<Input> ReadFrom(int fd);
  // Takes bytes that were read elsewhere.
  void Append(std::span<const std::byte> bytes);

  // What Next has not returned yet.
  [[nodiscard]] std::span<const std::byte> rest() const {
    return std::span(buffer_).subspan(begin_);
  }

  // The next whole frame, or nullopt when more bytes are needed.  EPROTO: the
  // stream cannot be used any further.
  [[nodiscard]] Result<std::optional<Frame>> Next();

 private:
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;  // of what Next has not returned yet
};

class FrameWriter {
 public:
  // Appends one frame.  The payload is at most kMaxPayload: a longer one is a defect.
  void Put(uint32_t type, uint64_t sequence, std::span<const std::byte> payload,
           std::span<const std::byte> more = {});
  // Appends bytes of frames, from wherever an earlier writer had come to.
  void Append(std::span<const std::byte> bytes);
  // Appends all frames of `other`, and empties it.
  void Take(FrameWriter& other);
  void Clear();

  // Writes what `fd` takes.  True when nothing is left.
  [[nodiscard]] Result<bool> WriteTo(int fd);

  [[nodiscard]] size_t size() const { return buffer_.size() - begin_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::span(buffer_).subspan(begin_);
  }

 private:
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
};

// ---- messages and frames

template <typename Raw>
[[nodiscard]] std::span<const std::byte> AsBytes(const Raw& raw) {
  return std::as_bytes(std::span(&raw, 1));
}

// The message of a frame whose type is M::kType.  FrameReader has checked its length.
template <typename M>
[[nodiscard]] M Get(const Frame& frame) {
  typename M::Raw raw;
  std::memcpy(&raw, frame.payload.data(), sizeof raw);
  return M::From(raw);
}

// The records of a frame, from byte `head` of its payload on.
template <typename M>
[[nodiscard]] std::vector<M> GetAll(const Frame& frame, size_t head = 0) {
  std::vector<M> all;
  for (size_t at = head; at + sizeof(typename M::Raw) <= frame.payload.size();
       at += sizeof(typename M::Raw)) {
    typename M::Raw raw;
    std::memcpy(&raw, frame.payload.data() + at, sizeof raw);
    all.push_back(M::From(raw));
  }
  return all;
}

template <typename M>
void Put(FrameWriter& out, const M& message) {
  const typename M::Raw raw = message.To();
  out.Put(M::kType, 0, AsBytes(raw));
}

// As many frames as the records need; `sequence` numbers the first record, or is 0.
template <typename M>
void PutAll(FrameWriter& out, std::span<const M> messages, uint64_t sequence = 0) {
  constexpr size_t kMost = kMaxPayload / sizeof(typename M::Raw);
  std::vector<typename M::Raw> raws;
  for (size_t at = 0; at < messages.size(); at += kMost) {
    raws.clear();
    for (const M& m : messages.subspan(at, std::min(kMost, messages.size() - at))) {
      raws.push_back(m.To());
    }
    out.Put(M::kType, sequence, std::as_bytes(std::span(raws)));
    if (sequence != 0) sequence += raws.size();
  }
}

// MAPPED: the head and its runs.
void PutMapped(FrameWriter& out, const MappedHead& head, std::span<const MapRun> runs);

}  // namespace ddsnap::wire

#endif  // DDSNAP_WIRE_FRAME_H_
