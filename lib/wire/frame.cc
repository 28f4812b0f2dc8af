// SPDX-License-Identifier: GPL-2.0
#include "wire/frame.h"

#include <endian.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>

namespace ddsnap::wire {
namespace {

constexpr size_t kReadSize = 64 * 1024;
constexpr size_t kKeep = 8 * kReadSize;  // buffers larger than this are given back

}  // namespace

Result<FrameReader::Input> FrameReader::ReadFrom(int fd) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(begin_));
  begin_ = 0;
  const size_t had = buffer_.size();
  buffer_.resize(had + kReadSize);
  ssize_t n = 0;
  do {
    n = ::recv(fd, buffer_.data() + had, kReadSize, 0);
  } while (n < 0 && errno == EINTR);
  const int error = errno;
  buffer_.resize(had + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n > 0) return Input::kData;
  if (n < 0 && (error == EAGAIN || error == EWOULDBLOCK)) return Input::kNothing;
  if (n < 0) return FailErrno(error, "receive");
  if (had != 0) return Fail(EPROTO, "connection closed inside a frame");
  return Input::kClosed;
}

void FrameReader::Append(std::span<const std::byte> bytes) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(begin_));
  begin_ = 0;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameReader::Next() {
  const std::span<const std::byte> rest = std::span(buffer_).subspan(begin_);
  if (rest.size() < sizeof(ddsnap_frame)) return std::nullopt;
  ddsnap_frame head;
  std::memcpy(&head, rest.data(), sizeof head);
  const uint32_t type = le32toh(head.type);
  const uint32_t length = le32toh(head.length);
  if (le32toh(head.magic) != DDSNAP_MAGIC) return Fail(EPROTO, "frame has a wrong magic number");
  if (!PayloadAllowed(type, length)) {
    return Fail(EPROTO, "frame of type " + std::to_string(type) + " (" + TypeName(type) + ") has " +
                            std::to_string(length) + " bytes of payload");
  }
  if (rest.size() - sizeof head < length) return std::nullopt;
  begin_ += sizeof head + length;
  return Frame{type, le64toh(head.sequence), rest.subspan(sizeof head, length)};
}

void FrameWriter::Put(uint32_t type, uint64_t sequence, std::span<const std::byte> payload,
                      std::span<const std::byte> more) {
  const size_t length = payload.size() + more.size();
  if (!PayloadAllowed(type, static_cast<uint32_t>(std::min<size_t>(length, UINT32_MAX)))) {
    std::abort();  // a defect of the caller; the peer would close the connection
  }
  ddsnap_frame head{};
  head.magic = htole32(DDSNAP_MAGIC);
  head.type = htole32(type);
  head.length = htole32(static_cast<uint32_t>(length));
  head.sequence = htole64(sequence);
  for (const auto part : {AsBytes(head), payload, more}) {
    buffer_.insert(buffer_.end(), part.begin(), part.end());
  }
}

void FrameWriter::Append(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void FrameWriter::Take(FrameWriter& other) {
  if (empty()) {
    std::swap(buffer_, other.buffer_);
    std::swap(begin_, other.begin_);
  } else {
    Append(other.bytes());
  }
  other.Clear();
}

void FrameWriter::Clear() {
  buffer_.clear();
  begin_ = 0;
  if (buffer_.capacity() > kKeep) buffer_.shrink_to_fit();
}

Result<bool> FrameWriter::WriteTo(int fd) {
  while (!empty()) {
    const auto rest = bytes();
    const ssize_t n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0) return FailErrno(errno, "send");
    begin_ += static_cast<size_t>(n);
  }
  Clear();
  return true;
}

void PutMapped(FrameWriter& out, const MappedHead& head, std::span<const MapRun> runs) {
  std::vector<ddsnap_run> raws;
  raws.reserve(runs.size());
  for (const MapRun& run : runs) raws.push_back(run.To());
  const ddsnap_mapped raw = head.To();
  out.Put(MappedHead::kType, 0, AsBytes(raw), std::as_bytes(std::span(raws)));
}

}  // namespace ddsnap::wire
