// SPDX-License-Identifier: GPL-2.0
#include "wire/kept.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "base/crc32c.h"

namespace ddsnap::wire {
namespace {

class Writer {
 public:
  explicit Writer(std::vector<std::byte>* out) : out_(*out) {}
  void Bytes(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  template <typename Raw>
  void Put(const Raw& raw) {
    Bytes(std::as_bytes(std::span(&raw, 1)));
  }

 private:
  std::vector<std::byte>& out_;
};

// Past the end everything is zero, and bad() says so.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  [[nodiscard]] std::vector<std::byte> Bytes(uint64_t count) {
    if (count > rest_.size()) {
      bad_ = true;
      return {};
    }
    const auto part = rest_.first(count);
    rest_ = rest_.subspan(count);
    return {part.begin(), part.end()};
  }
  template <typename Raw>
  [[nodiscard]] Raw Get() {
    Raw raw{};
    const auto bytes = Bytes(sizeof raw);
    if (!bad_) std::memcpy(static_cast<void*>(&raw), bytes.data(), sizeof raw);
    return raw;
  }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  bool bad_ = false;
};

void PutConnection(Writer& out, const KeptConnection& c) {
  RawKeptConnection raw{};
  raw.unread = c.unread.size();
  raw.unsent = c.unsent.size();
  raw.has_link = c.link ? 1 : 0;
  if (c.link) {
    raw.attached = static_cast<uint32_t>(c.link->attached.size());
    raw.dropping = static_cast<uint32_t>(c.link->dropping.size());
    raw.grants_settled = c.link->grants_settled ? 1 : 0;
  }
  out.Put(raw);
  if (c.link) {
    out.Put(RawKeptLink{c.link->hello.To(), c.link->epoch, c.link->live, c.link->recorded,
                        c.link->wanted, c.link->last_barrier});
    for (const auto& [snapshot, count] : c.link->attached) {
      out.Put(RawKeptAttached{snapshot, uint64_t{count}});
    }
    for (const Epoch snapshot : c.link->dropping) out.Put(Le64(snapshot));
  }
  out.Bytes(c.unread);
  out.Bytes(c.unsent);
}

KeptLink GetLink(Reader& in, const RawKeptConnection& counts) {
  const auto raw = in.Get<RawKeptLink>();
  KeptLink link{.hello = Hello::From(raw.hello),
                .epoch = raw.epoch,
                .live = raw.live,
                .recorded = raw.recorded,
                .wanted = raw.wanted,
                .last_barrier = raw.last_barrier,
                .grants_settled = counts.grants_settled != 0};
  for (uint32_t i = 0; i < counts.attached && !in.bad(); ++i) {
    const auto attached = in.Get<RawKeptAttached>();
    link.attached[attached.snapshot] = static_cast<uint32_t>(attached.count);
  }
  for (uint32_t i = 0; i < counts.dropping && !in.bad(); ++i) link.dropping.insert(in.Get<Le64>());
  return link;
}

KeptConnection GetConnection(Reader& in) {
  KeptConnection c;
  const auto raw = in.Get<RawKeptConnection>();
  if (raw.has_link != 0) c.link = GetLink(in, raw);
  c.unread = in.Bytes(raw.unread);
  c.unsent = in.Bytes(raw.unsent);
  return c;
}

uint32_t Checksum(RawKeptHead head, std::span<const std::byte> body) {
  head.crc = 0;
  return Crc32c(body, Crc32c(std::as_bytes(std::span(&head, 1))));
}

}  // namespace

std::vector<std::byte> EncodeKept(const Kept& kept) {
  std::vector<std::byte> body, whole;
  Writer out(&body);
  for (const KeptConnection& c : kept.connections) PutConnection(out, c);
  RawKeptHead head{};
  head.magic = kKeptMagic;
  head.version = kKeptVersion;
  head.connections = static_cast<uint32_t>(kept.connections.size());
  head.commits = kept.commits;
  head.crc = Checksum(head, body);
  Writer(&whole).Put(head);
  Writer(&whole).Bytes(body);
  return whole;
}

Result<Kept> DecodeKept(std::span<const std::byte> bytes) {
  Reader in(bytes);
  const auto head = in.Get<RawKeptHead>();
  if (in.bad() || head.magic != kKeptMagic) return Fail(EBADMSG, "no description");
  if (head.version != kKeptVersion) {
    return Fail(EBADMSG, "description of version " + std::to_string(head.version));
  }
  if (head.crc != Checksum(head, bytes.subspan(sizeof head)))
    return Fail(EBADMSG, "damaged description");
  Kept kept{.commits = head.commits};
  for (uint32_t i = 0; i < head.connections && !in.bad(); ++i) {
    kept.connections.push_back(GetConnection(in));
  }
  if (in.bad() || !in.empty()) return Fail(EBADMSG, "damaged description");
  return kept;
}

}  // namespace ddsnap::wire
