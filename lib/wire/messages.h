// SPDX-License-Identifier: GPL-2.0
// The messages of kernel/uapi/dm-ddsnap.h in host order, and the control
// frames between agent, server and tools (doc/protocol.md).  This is the only
// includer of the uapi header in user space.
//
// Each message knows its frame type, its struct on the wire (Raw), and the two
// conversions; Put and Get (frame.h) do the rest.
#ifndef DDSNAP_WIRE_MESSAGES_H_
#define DDSNAP_WIRE_MESSAGES_H_

#include <dm-ddsnap.h>

#include <compare>
#include <cstdint>
#include <string>

#include "base/chunk.h"

namespace ddsnap::wire {

inline constexpr uint32_t kMaxPayload = DDSNAP_MAX_PAYLOAD;
inline constexpr uint32_t kProtocol = DDSNAP_PROTOCOL;
inline constexpr uint32_t kTagOrigin = DDSNAP_TAG_ORIGIN;

// Types of the control frames.
enum ControlType : uint32_t {
  kControlRequest = DDSNAP_CONTROL,  // tool -> server: one JSON object
  kControlReply,                     // server -> tool: the last piece of a JSON object
  kControlPart,                      // server -> tool: a piece before that
  kControlRanges,                    // server -> tool: struct RawRange [] of origin chunks
  kRegister,                         // server -> agent: struct RawRegister
  kRegistered,                       // agent -> server: no payload
};

struct Device {  // a device number, as stat(2) gives it
  uint32_t major = 0;
  uint32_t minor = 0;
  auto operator<=>(const Device&) const = default;
};

struct VolumeDevices {
  Device store, origin;
  auto operator<=>(const VolumeDevices&) const = default;
};

struct Identify {
  static constexpr uint32_t kType = DDSNAP_IDENTIFY;
  using Raw = ddsnap_identify;
  VolumeDevices devices{};
  uint64_t sectors = 0;
  uint32_t tag = 0;
  static Identify From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Identified {
  static constexpr uint32_t kType = DDSNAP_IDENTIFIED;
  using Raw = ddsnap_identified;
  Uuid uuid{};
  Epoch epoch = 0;
  uint64_t sectors = 0;
  uint32_t chunk_shift = 0;  // log2 of sectors
  static Identified From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

template <uint32_t Type>
struct Reason {
  static constexpr uint32_t kType = Type;
  using Raw = ddsnap_refused;
  int error = 0;
  std::string reason{};  // cut to DDSNAP_REASON_MAX - 1 bytes
  static Reason From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};
using Refused = Reason<DDSNAP_REFUSED>;
using Abandon = Reason<DDSNAP_ABANDON>;

struct NeedServer {
  static constexpr uint32_t kType = DDSNAP_NEED_SERVER;
  using Raw = ddsnap_need_server;
  VolumeDevices devices{};
  Device dm_dev{};
  Uuid uuid{};
  static NeedServer From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Hello {
  static constexpr uint32_t kType = DDSNAP_HELLO;
  using Raw = ddsnap_hello;
  uint32_t version = kProtocol;
  Uuid uuid{}, boot_id{};
  uint64_t origin_sectors = 0, store_sectors = 0;
  static Hello From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Welcome {
  static constexpr uint32_t kType = DDSNAP_WELCOME;
  using Raw = ddsnap_welcome;
  uint32_t version = kProtocol;
  uint32_t chunk_shift = 0;
  Uuid uuid{};
  Epoch epoch = 0;
  uint64_t live = 0;
  static Welcome From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

// Messages that are one 64-bit number: most often a snapshot's epoch.
template <uint32_t Type, typename RawStruct>
struct Number {
  static constexpr uint32_t kType = Type;
  using Raw = RawStruct;
  uint64_t value = 0;
  static Number From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};
using Attach = Number<DDSNAP_ATTACH, ddsnap_attach>;
using Detach = Number<DDSNAP_DETACH, ddsnap_attach>;
using Drop = Number<DDSNAP_DROP, ddsnap_drop>;
using Dropped = Number<DDSNAP_DROPPED, ddsnap_drop>;
using Barrier = Number<DDSNAP_BARRIER, ddsnap_barrier>;
using Ready = Number<DDSNAP_READY, ddsnap_barrier>;
using GrantWanted = Number<DDSNAP_GRANT_WANTED, ddsnap_grant_wanted>;

struct Attached {
  static constexpr uint32_t kType = DDSNAP_ATTACHED;
  using Raw = ddsnap_attached;
  Epoch snapshot = 0;
  int error = 0;
  static Attached From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Report {
  static constexpr uint32_t kType = DDSNAP_REPORT;
  using Raw = ddsnap_report;
  Epoch snapshot = 0;
  uint64_t chunk = 0, address = 0;
  uint32_t count = 0;
  bool unreadable = false;
  static Report From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Map {
  static constexpr uint32_t kType = DDSNAP_MAP;
  using Raw = ddsnap_map;
  uint64_t id = 0;
  Epoch snapshot = 0;
  uint64_t chunk = 0;
  uint32_t count = 0;
  static Map From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct MapRun {
  using Raw = ddsnap_run;
  uint64_t address = 0;
  uint32_t count = 0;
  uint32_t kind = DDSNAP_RUN_ORIGIN;
  static MapRun From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

// Runs follow the head in the same payload.
struct MappedHead {
  static constexpr uint32_t kType = DDSNAP_MAPPED;
  using Raw = ddsnap_mapped;
  uint64_t id = 0;
  Epoch snapshot = 0;
  uint64_t chunk = 0;
  uint32_t runs = 0;
  int error = 0;
  static MappedHead From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};
inline constexpr size_t kMaxRuns = (kMaxPayload - sizeof(ddsnap_mapped)) / sizeof(ddsnap_run);

template <uint32_t Type>
struct AddressRange {
  static constexpr uint32_t kType = Type;
  using Raw = ddsnap_range;
  uint64_t address = 0, count = 0;
  static AddressRange From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};
using Grant = AddressRange<DDSNAP_GRANT>;
using Return = AddressRange<DDSNAP_RETURN>;
using Changed = AddressRange<kControlRanges>;  // `address` is an origin chunk

struct Ack {
  static constexpr uint32_t kType = DDSNAP_ACK;
  using Raw = ddsnap_ack;
  uint64_t through = 0;
  Epoch epoch = 0;
  static Ack From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct Resume {
  static constexpr uint32_t kType = DDSNAP_RESUME;
  using Raw = ddsnap_resume;
  uint64_t id = 0;
  Epoch epoch = 0;
  uint64_t live = 0;
  static Resume From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

struct RawRegister {
  ddsnap_dev store, origin;
  uint8_t uuid[16];
  char socket[112];  // name of the server's socket, NUL-terminated
};

struct Register {
  static constexpr uint32_t kType = kRegister;
  using Raw = RawRegister;
  VolumeDevices devices{};
  Uuid uuid{};
  std::string socket{};
  static Register From(const Raw& raw);
  [[nodiscard]] Raw To() const;
};

// Which payload lengths a type allows; false for a type that does not exist.
[[nodiscard]] bool PayloadAllowed(uint32_t type, uint32_t length);

// For messages in logs: "HELLO".
[[nodiscard]] const char* TypeName(uint32_t type);

static_assert(sizeof(ddsnap_frame) == 24);
static_assert(sizeof(ddsnap_identify) == 32);
static_assert(sizeof(ddsnap_identified) == 40);
static_assert(sizeof(ddsnap_refused) == 264);
static_assert(sizeof(ddsnap_need_server) == 40);
static_assert(sizeof(ddsnap_hello) == 56);
static_assert(sizeof(ddsnap_welcome) == 40);
static_assert(sizeof(ddsnap_report) == 32);
static_assert(sizeof(ddsnap_map) == 32);
static_assert(sizeof(ddsnap_run) == 16);
static_assert(sizeof(ddsnap_mapped) == 32);
static_assert(sizeof(ddsnap_range) == 16);
static_assert(sizeof(ddsnap_ack) == 16);
static_assert(sizeof(ddsnap_resume) == 24);
static_assert(sizeof(RawRegister) == 144);

}  // namespace ddsnap::wire

#endif  // DDSNAP_WIRE_MESSAGES_H_
