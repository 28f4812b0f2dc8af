// SPDX-License-Identifier: GPL-2.0
// The bytes of changelists and deltas.  See doc/delta-format.md.
#ifndef DDSNAP_REPL_FORMAT_H_
#define DDSNAP_REPL_FORMAT_H_

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/chunk.h"
#include "repl/checksum.h"

namespace ddsnap::repl {

using Magic = std::array<uint8_t, 8>;
inline constexpr Magic kChangelistMagic = {'d', 'd', 'c', 'h', 'g', 'l', 's', 0x1a};
inline constexpr Magic kDeltaMagic = {'d', 'd', 'd', 'e', 'l', 't', 'a', 0x1a};
inline constexpr Magic kReplyMagic = {'d', 'd', 'r', 'e', 'p', 'l', 'y', 0x1a};
inline constexpr Magic kVerifyMagic = {'d', 'd', 'v', 'e', 'r', 'f', 'y', 0x1a};

inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kNoBaseSums = 1;  // feature of a delta
inline constexpr uint32_t kMaxBody = 65536;
inline constexpr uint32_t kMaxExtent = 1 << 20;  // bytes of content, and of payload
inline constexpr uint64_t kMaxSize = (uint64_t{1} << 63) - 1;
inline constexpr Tag kOriginTag = 0xffffffff;

constexpr uint32_t TypeCode(const char (&name)[5]) {
  uint32_t code = 0;
  for (int i = 3; i >= 0; --i) code = code << 8 | static_cast<uint8_t>(name[i]);
  return code;
}
inline constexpr uint32_t kHead = TypeCode("HEAD");
inline constexpr uint32_t kRanges = TypeCode("RNGS");
inline constexpr uint32_t kExtent = TypeCode("EXTN");
inline constexpr uint32_t kEnd = TypeCode("END.");
inline constexpr uint32_t kStatusRecord = TypeCode("STAT");
inline constexpr uint32_t kAckRecord = TypeCode("ACK.");
inline constexpr uint32_t kDoneRecord = TypeCode("DONE");
inline constexpr uint32_t kFailRecord = TypeCode("FAIL");
inline constexpr uint32_t kAskRecord = TypeCode("ASK.");
inline constexpr uint32_t kSumsRecord = TypeCode("SUMS");
inline constexpr uint32_t kSnapshotRecord = TypeCode("SNAP");
inline constexpr uint32_t kSkippable = 1;  // record flag

struct RawBegin {
  Magic magic;
  Le32 version;
  Le32 features;
};
static_assert(sizeof(RawBegin) == 16);

struct RawRecord {
  Le32 type;
  Le32 flags;
  Le32 body_size;
  Le32 payload_size;
  Le64 number;
  Sum sum;
};
inline constexpr size_t kSummedHead = 24;  // bytes of RawRecord before `sum`
static_assert(sizeof(RawRecord) == kSummedHead + sizeof(Sum));

inline constexpr uint32_t kNoBase = 1;  // identity flag
struct RawIdentity {
  Le64 epoch;
  Le32 tag;
  Le32 flags;
  Le64 size;
  Le64 created_ns;
};
static_assert(sizeof(RawIdentity) == 32);

struct RawChangelistHead {
  Uuid volume;
  Le32 chunk_size;
  Le32 zero;
  RawIdentity base;
  RawIdentity target;
  Le64 made_ns;
};
static_assert(sizeof(RawChangelistHead) == 96);

struct RawDeltaHead {
  RawChangelistHead common;
  Le64 expected;
  Le64 begin;
};
static_assert(sizeof(RawDeltaHead) == 112);

struct RawRange {
  Le64 chunk;
  Le64 count;
};
static_assert(sizeof(RawRange) == 16);
inline constexpr size_t kRangesPerRecord = kMaxBody / sizeof(RawRange);

struct RawExtent {
  Le64 offset;
  Le32 length;
  Le32 base_length;
  Le32 kind;
  Le32 zero;
  Sum base_sum;
  Sum target_sum;
  Sum payload_sum;
  Le64 zero2;
};
static_assert(sizeof(RawExtent) == 80);

struct RawEnd {
  Le64 count;   // ranges, or extents
  Le64 amount;  // chunks, or content bytes
};
static_assert(sizeof(RawEnd) == 16);

// A receiver's STAT.
inline constexpr uint64_t kNothing = 0, kInBetween = 1, kHoldsTarget = 2;
struct RawReplyStatus {
  RawChangelistHead what;
  Le64 status;
  Le64 position;
  Le64 limit;
};
static_assert(sizeof(RawReplyStatus) == 120);

struct RawPosition {
  Le64 position;
};
static_assert(sizeof(RawPosition) == 8);

// What is compared, and the sums of it.
inline constexpr uint64_t kToCompare = 0, kToMend = 1;
struct RawVerifyHead {
  RawChangelistHead what;
  Le64 purpose;
};
static_assert(sizeof(RawVerifyHead) == 104);

inline constexpr uint32_t kMaxSums = 1024;  // of one range
struct RawSumRange {
  Le64 offset;
  Le32 length;
  Le32 unit;
};
static_assert(sizeof(RawSumRange) == 16);
static_assert(sizeof(RawSumRange) + kMaxSums * sizeof(Sum) <= kMaxBody);

inline constexpr uint32_t kOriginIsSnapshot = 1;  // flag
struct RawSnapshot {
  Le32 tag;
  Le32 flags;
};
static_assert(sizeof(RawSnapshot) == 8);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_FORMAT_H_
