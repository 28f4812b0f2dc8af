// SPDX-License-Identifier: GPL-2.0
#include "wire/messages.h"

#include <endian.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace ddsnap::wire {
namespace {

Device FromDev(const ddsnap_dev& raw) { return {le32toh(raw.major), le32toh(raw.minor)}; }
ddsnap_dev ToDev(const Device& d) { return {htole32(d.major), htole32(d.minor)}; }

Uuid FromUuid(const uint8_t (&raw)[16]) {
  Uuid uuid;
  std::copy(std::begin(raw), std::end(raw), uuid.begin());
  return uuid;
}
void ToUuid(const Uuid& uuid, uint8_t (&raw)[16]) {
  std::copy(uuid.begin(), uuid.end(), std::begin(raw));
}

// Text from a peer ends at the first NUL or at the end of its field, and
// becomes part of one-line messages.
template <size_t N>
std::string FromText(const char (&raw)[N]) {
  std::string text(raw, ::strnlen(raw, N));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  return text;
}
template <size_t N>
void ToText(const std::string& text, char (&raw)[N]) {
  std::memset(raw, 0, N);
  std::memcpy(raw, text.data(), std::min(text.size(), N - 1));
}

}  // namespace

Identify Identify::From(const Raw& raw) {
  return {{FromDev(raw.store), FromDev(raw.origin)}, le64toh(raw.sectors), le32toh(raw.tag)};
}
Identify::Raw Identify::To() const {
  return {ToDev(devices.store), ToDev(devices.origin), htole64(sectors), htole32(tag), 0};
}

Identified Identified::From(const Raw& raw) {
  return {FromUuid(raw.uuid), le64toh(raw.epoch), le64toh(raw.sectors), le32toh(raw.chunk_shift)};
}
Identified::Raw Identified::To() const {
  Raw raw{};
  ToUuid(uuid, raw.uuid);
  raw.epoch = htole64(epoch);
  raw.sectors = htole64(sectors);
  raw.chunk_shift = htole32(chunk_shift);
  return raw;
}

template <uint32_t Type>
Reason<Type> Reason<Type>::From(const Raw& raw) {
  return {static_cast<int>(le32toh(raw.error)), FromText(raw.reason)};
}
template <uint32_t Type>
ddsnap_refused Reason<Type>::To() const {
  Raw raw{};
  raw.error = htole32(static_cast<uint32_t>(error));
  ToText(reason, raw.reason);
  return raw;
}
template struct Reason<DDSNAP_REFUSED>;
template struct Reason<DDSNAP_ABANDON>;

NeedServer NeedServer::From(const Raw& raw) {
  return {{FromDev(raw.store), FromDev(raw.origin)}, FromDev(raw.dm_dev), FromUuid(raw.uuid)};
}
NeedServer::Raw NeedServer::To() const {
  Raw raw{ToDev(devices.store), ToDev(devices.origin), ToDev(dm_dev), {}};
  ToUuid(uuid, raw.uuid);
  return raw;
}

Hello Hello::From(const Raw& raw) {
  return {le32toh(raw.version), FromUuid(raw.uuid), FromUuid(raw.boot_id),
          le64toh(raw.origin_sectors), le64toh(raw.store_sectors)};
}
Hello::Raw Hello::To() const {
  Raw raw{};
  raw.version = htole32(version);
  ToUuid(uuid, raw.uuid);
  ToUuid(boot_id, raw.boot_id);
  raw.origin_sectors = htole64(origin_sectors);
  raw.store_sectors = htole64(store_sectors);
  return raw;
}

Welcome Welcome::From(const Raw& raw) {
  return {le32toh(raw.version), le32toh(raw.chunk_shift), FromUuid(raw.uuid), le64toh(raw.epoch),
          le64toh(raw.live)};
}
Welcome::Raw Welcome::To() const {
  Raw raw{};
  raw.version = htole32(version);
  raw.chunk_shift = htole32(chunk_shift);
  ToUuid(uuid, raw.uuid);
  raw.epoch = htole64(epoch);
  raw.live = htole64(live);
  return raw;
}

template <uint32_t Type, typename RawStruct>
Number<Type, RawStruct> Number<Type, RawStruct>::From(const Raw& raw) {
  return {le64toh(std::bit_cast<uint64_t>(raw))};
}
template <uint32_t Type, typename RawStruct>
RawStruct Number<Type, RawStruct>::To() const {
  return std::bit_cast<Raw>(htole64(value));
}
template struct Number<DDSNAP_ATTACH, ddsnap_attach>;
template struct Number<DDSNAP_DETACH, ddsnap_attach>;
template struct Number<DDSNAP_DROP, ddsnap_drop>;
template struct Number<DDSNAP_DROPPED, ddsnap_drop>;
template struct Number<DDSNAP_BARRIER, ddsnap_barrier>;
template struct Number<DDSNAP_READY, ddsnap_barrier>;
template struct Number<DDSNAP_GRANT_WANTED, ddsnap_grant_wanted>;

Attached Attached::From(const Raw& raw) {
  return {le64toh(raw.snapshot), static_cast<int>(le32toh(raw.error))};
}
Attached::Raw Attached::To() const {
  return {htole64(snapshot), htole32(static_cast<uint32_t>(error)), 0};
}

Report Report::From(const Raw& raw) {
  return {le64toh(raw.snapshot), le64toh(raw.chunk), le64toh(raw.address), le32toh(raw.count),
          (le32toh(raw.flags) & DDSNAP_REPORT_UNREADABLE) != 0};
}
Report::Raw Report::To() const {
  return {htole64(snapshot), htole64(chunk), htole64(address), htole32(count),
          htole32(unreadable ? DDSNAP_REPORT_UNREADABLE : 0)};
}

Map Map::From(const Raw& raw) {
  return {le64toh(raw.id), le64toh(raw.snapshot), le64toh(raw.chunk), le32toh(raw.count)};
}
Map::Raw Map::To() const {
  return {htole64(id), htole64(snapshot), htole64(chunk), htole32(count), 0};
}

MapRun MapRun::From(const Raw& raw) {
  return {le64toh(raw.address), le32toh(raw.count), le32toh(raw.kind)};
}
MapRun::Raw MapRun::To() const { return {htole64(address), htole32(count), htole32(kind)}; }

MappedHead MappedHead::From(const Raw& raw) {
  return {le64toh(raw.id), le64toh(raw.snapshot), le64toh(raw.chunk), le32toh(raw.runs),
          static_cast<int>(le32toh(raw.error))};
}
MappedHead::Raw MappedHead::To() const {
  return {htole64(id), htole64(snapshot), htole64(chunk), htole32(runs),
          htole32(static_cast<uint32_t>(error))};
}

template <uint32_t Type>
AddressRange<Type> AddressRange<Type>::From(const Raw& raw) {
  return {le64toh(raw.address), le64toh(raw.count)};
}
template <uint32_t Type>
ddsnap_range AddressRange<Type>::To() const {
  return {htole64(address), htole64(count)};
}
template struct AddressRange<DDSNAP_GRANT>;
template struct AddressRange<DDSNAP_RETURN>;
template struct AddressRange<kControlRanges>;

Ack Ack::From(const Raw& raw) { return {le64toh(raw.through), le64toh(raw.epoch)}; }
Ack::Raw Ack::To() const { return {htole64(through), htole64(epoch)}; }

Resume Resume::From(const Raw& raw) {
  return {le64toh(raw.id), le64toh(raw.epoch), le64toh(raw.live)};
}
Resume::Raw Resume::To() const { return {htole64(id), htole64(epoch), htole64(live)}; }

Register Register::From(const Raw& raw) {
  return {{FromDev(raw.store), FromDev(raw.origin)}, FromUuid(raw.uuid), FromText(raw.socket)};
}
Register::Raw Register::To() const {
  Raw raw{};
  raw.store = ToDev(devices.store);
  raw.origin = ToDev(devices.origin);
  ToUuid(uuid, raw.uuid);
  ToText(socket, raw.socket);
  return raw;
}

namespace {

// head bytes, then at least `least` records of `record` bytes (0: none at all).
struct TypeInfo {
  uint32_t type;
  const char* name;
  uint32_t head;
  uint32_t record;
  uint32_t least;
};

constexpr TypeInfo kTypes[] = {
    {DDSNAP_IDENTIFY, "IDENTIFY", sizeof(ddsnap_identify), 0, 0},
    {DDSNAP_NEED_SERVER, "NEED_SERVER", sizeof(ddsnap_need_server), 0, 0},
    {DDSNAP_IDENTIFIED, "IDENTIFIED", sizeof(ddsnap_identified), 0, 0},
    {DDSNAP_REFUSED, "REFUSED", sizeof(ddsnap_refused), 0, 0},
    {DDSNAP_HELLO, "HELLO", sizeof(ddsnap_hello), 0, 0},
    {DDSNAP_ATTACH, "ATTACH", sizeof(ddsnap_attach), 0, 0},
    {DDSNAP_DETACH, "DETACH", sizeof(ddsnap_attach), 0, 0},
    {DDSNAP_REPORT, "REPORT", 0, sizeof(ddsnap_report), 1},
    {DDSNAP_MAP, "MAP", 0, sizeof(ddsnap_map), 1},
    {DDSNAP_GRANT_WANTED, "GRANT_WANTED", sizeof(ddsnap_grant_wanted), 0, 0},
    {DDSNAP_RETURN, "RETURN", 0, sizeof(ddsnap_range), 1},
    {DDSNAP_READY, "READY", sizeof(ddsnap_barrier), 0, 0},
    {DDSNAP_DROPPED, "DROPPED", sizeof(ddsnap_drop), 0, 0},
    {DDSNAP_WELCOME, "WELCOME", sizeof(ddsnap_welcome), 0, 0},
    {DDSNAP_ATTACHED, "ATTACHED", sizeof(ddsnap_attached), 0, 0},
    {DDSNAP_ACK, "ACK", sizeof(ddsnap_ack), 0, 0},
    {DDSNAP_MAPPED, "MAPPED", sizeof(ddsnap_mapped), sizeof(ddsnap_run), 0},
    {DDSNAP_GRANT, "GRANT", 0, sizeof(ddsnap_range), 1},
    {DDSNAP_DENIED, "DENIED", 0, 0, 0},
    {DDSNAP_BARRIER, "BARRIER", sizeof(ddsnap_barrier), 0, 0},
    {DDSNAP_RESUME, "RESUME", sizeof(ddsnap_resume), 0, 0},
    {DDSNAP_DROP, "DROP", sizeof(ddsnap_drop), 0, 0},
    {DDSNAP_ABANDON, "ABANDON", sizeof(ddsnap_refused), 0, 0},
    {kControlRequest, "CONTROL_REQUEST", 0, 1, 2},
    {kControlReply, "CONTROL_REPLY", 0, 1, 1},
    {kControlPart, "CONTROL_PART", 0, 1, 1},
    {kControlRanges, "CONTROL_RANGES", 0, sizeof(ddsnap_range), 1},
    {kRegister, "REGISTER", sizeof(RawRegister), 0, 0},
    {kRegistered, "REGISTERED", 0, 0, 0},
};

const TypeInfo* FindType(uint32_t type) {
  for (const TypeInfo& info : kTypes) {
    if (info.type == type) return &info;
  }
  return nullptr;
}

}  // namespace

bool PayloadAllowed(uint32_t type, uint32_t length) {
  const TypeInfo* info = FindType(type);
  if (info == nullptr || length > kMaxPayload || length < info->head) return false;
  const uint32_t rest = length - info->head;
  if (info->record == 0) return rest == 0;
  return rest % info->record == 0 && rest / info->record >= info->least;
}

const char* TypeName(uint32_t type) {
  const TypeInfo* info = FindType(type);
  return info != nullptr ? info->name : "unknown";
}

}  // namespace ddsnap::wire
