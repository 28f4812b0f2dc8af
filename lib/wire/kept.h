// SPDX-License-Identifier: GPL-2.0
// What a server that ends in order tells its successor about its connections (doc/protocol.md, "A
// server and its successor").  Both directions of each connection, to the byte, and for the
// kernel's what was said on it.
//
// The format is for processes on one machine and one boot.  Whoever changes what a field means
// raises kKeptVersion.
#ifndef DDSNAP_WIRE_KEPT_H_
#define DDSNAP_WIRE_KEPT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "wire/messages.h"

namespace ddsnap::wire {

inline constexpr uint32_t kKeptMagic = 0x70656b7a;  // "zkep"
inline constexpr uint32_t kKeptVersion = 1;

struct KeptLink {
  Hello hello{};       // as it was checked
  uint64_t epoch = 0;  // as the kernel was told last
  uint64_t live = 0;
  uint64_t recorded = 0;        // number of the last record; all are acknowledged
  uint64_t wanted = 0;          // chunks of a GRANT_WANTED that stands; 0: none does
  uint64_t last_barrier = 0;    // ids up to this were used; none is up
  bool grants_settled = false;  // grants of earlier links have been freed
  std::map<Epoch, uint32_t> attached{};
  std::set<Epoch> dropping{};  // DROP was sent, DROPPED has not come
};

struct KeptConnection {
  std::vector<std::byte> unread{};  // received, not yet handled
  std::vector<std::byte> unsent{};  // to be sent, not yet taken by the socket
  std::optional<KeptLink> link{};   // of the kernel's connection
};

struct Kept {
  uint64_t commits = 0;  // of the store, when it was left
  std::vector<KeptConnection> connections{};
};

struct RawKeptHead {
  Le32 magic, version, crc, connections;  // `crc`: of all, as if it were zero
  Le64 commits, reserved;
};
struct RawKeptConnection {
  Le64 unread, unsent;  // bytes
  Le32 has_link, attached, dropping, grants_settled;
};
struct RawKeptLink {
  ddsnap_hello hello;
  Le64 epoch, live, recorded, wanted, last_barrier;
};
struct RawKeptAttached {
  Le64 snapshot, count;
};
static_assert(sizeof(RawKeptHead) == 32);
static_assert(sizeof(RawKeptConnection) == 32);
static_assert(sizeof(RawKeptLink) == 96);
static_assert(sizeof(RawKeptAttached) == 16);

[[nodiscard]] std::vector<std::byte> EncodeKept(const Kept& kept);
// EBADMSG for anything but a whole description of this version.
[[nodiscard]] Result<Kept> DecodeKept(std::span<const std::byte> bytes);

}  // namespace ddsnap::wire

#endif  // DDSNAP_WIRE_KEPT_H_
