// SPDX-License-Identifier: GPL-2.0
// The structs of doc/disk-format.md, exactly as they lie on the disk.  Nothing
// but pack and unpack code uses them.
#ifndef DDSNAP_STORE_DISK_FORMAT_H_
#define DDSNAP_STORE_DISK_FORMAT_H_

#include <cstdint>

#include "base/bytes.h"

namespace ddsnap::disk {

inline constexpr uint64_t kBlock = 4096;
inline constexpr uint32_t kVersion = 3;        // written
inline constexpr uint32_t kOldestVersion = 1;  // read

inline constexpr uint64_t kSuperMagic = 0x31305041'4e534444;  // "DDSNAP01"
inline constexpr uint32_t kNodeMagic = 0x454e4444;            // "DDNE"
inline constexpr uint32_t kMapMagic = 0x4d534444;             // "DDSM"
inline constexpr uint32_t kSlotsMagic = 0x4c534444;           // "DDSL"
inline constexpr uint32_t kBatchMagic = 0x424a4444;           // "DDJB"

// The first superblock is in block 1; where the second is, the first says, and
// it is also found at kSecondSuper.
inline constexpr uint64_t kFirstSuper = 1;
inline constexpr uint64_t kSecondSuper = 2;

enum TreeId : uint32_t { kExceptions, kLabels, kPrivates, kSharing, kSnapshots, kTrees };
inline constexpr uint32_t kValueWords[kTrees] = {1, 0, 1, 1, 6};

struct Root {
  Le64 block;  // 0: the tree is empty
  Le64 entries;
  Le32 height;  // levels; 0 when empty
  Le32 reserved;
};
static_assert(sizeof(Root) == 24);

inline constexpr uint32_t kSegments = 8;
struct Segment {  // of the pages of a space map; each has two slots, side by side
  Le64 block;
  Le64 pages;
};
struct Map {
  Le64 units;  // what the map has a bit for, in units from the device's start
  Le64 unit_bytes;
  Le64 free_units;
  Le64 slot_blocks;  // blocks of one copy of the slot table
  Le64 slots[2];     // first block of either copy; [i] belongs to superblock i
  Segment segments[kSegments];
};
static_assert(sizeof(Map) == 48 + 8 * 16);

struct Superblock {
  Le64 magic;
  Le32 crc;  // of this block with this field zero
  Le32 version;
  uint8_t uuid[16];
  Le64 generation;
  Le64 block;  // where this copy lies
  Le32 chunk_bytes;
  Le32 separate;  // 1: chunks on the store device, this on a metadata device
  Le64 origin_bytes;
  Le64 store_bytes;  // sizes of the devices when this was written
  Le64 meta_bytes;
  Le64 epoch;
  Le64 created_ns;
  Le64 tree_blocks;       // in use by all trees
  Le64 journal_block;     // first block
  Le64 journal_blocks;    // length
  Le64 journal_position;  // where replay begins: blocks since the journal's beginning
  Le64 journal_sequence;  // number of the batch there
  uint8_t boot_id[16];
  Le32 attached;
  Le32 maps;  // 2: tree blocks, then chunks
  Root roots[kTrees];
  Map map[2];
  Le64 reverting;  // epoch of the snapshot that the origin is being brought back to; 0: none
};
static_assert(sizeof(Superblock) == 160 + 5 * 24 + 2 * 176 + 8);
static_assert(sizeof(Superblock) <= kBlock);

struct BlockHeader {  // of tree nodes, map pages and slot tables
  Le32 magic;
  Le32 crc;  // of the whole block with this field zero
  uint8_t uuid[16];
  Le64 block;  // nodes: own block; pages and slot tables: own number
  Le64 generation;
};
static_assert(sizeof(BlockHeader) == 40);

struct NodeHeader {
  BlockHeader common;
  Le16 tree;
  Le16 level;  // 0: a leaf
  Le16 count;
  Le16 value_words;
};
static_assert(sizeof(NodeHeader) == 48);

inline constexpr uint64_t kMapHeader = 64;
inline constexpr uint64_t kBitsPerPage = (kBlock - kMapHeader) * 8;

struct SnapshotRecord {
  Le32 tag;
  uint8_t priority;   // two's complement
  uint8_t state;      // Snapshot::State; kBookmark since version 3
  uint8_t reclaimed;  // 1: its chunks are free already
  uint8_t reserved;
  Le64 usecount;
  Le64 created_ns;
  Le64 size;
  Le64 privates;
  Le64 reserved2;
};
static_assert(sizeof(SnapshotRecord) == 8 * kValueWords[kSnapshots]);

struct BatchHeader {
  Le32 magic;
  Le32 crc;  // of header, records and padding with this field zero
  uint8_t uuid[16];
  Le64 sequence;
  Le64 position;  // in blocks since the journal's beginning
  Le32 length;    // bytes of records
  Le32 records;
  Le64 reserved[2];
};
static_assert(sizeof(BatchHeader) == 64);

enum RecordType : uint16_t {
  kGrant = 1,     // Extent []
  kReturn,        // Extent []
  kReturnAll,     // -
  kKept,          // Extent []: grants outstanding at a checkpoint; flag 1: the first
  kCopy,          // Copy
  kUnreadable,    // Copy
  kPrivate,       // Copy
  kCreate,        // Create
  kDelete,        // Number
  kGiveUp,        // Number
  kFree,          // Exception []
  kFreePrivate,   // Exception []: (snapshot, chunk)
  kReclaimed,     // Number: all chunks of the snapshot are free
  kPriority,      // Number
  kUsecount,      // Number
  kAttached,      // Number
  kBoot,          // Boot
  kOriginSize,    // Number
  kRevert,        // Number: since version 2
  kBookmark,      // Number: since version 3, as the next two
  kStrip,         // Exception []: the contents are not kept any more
  kStripPrivate,  // Exception []: (snapshot, chunk)
  kRecordTypes
};

struct RecordHeader {
  Le16 type;
  Le16 flags;
  Le32 length;  // bytes that follow, a multiple of 8
};
static_assert(sizeof(RecordHeader) == 8);
struct Extent {
  Le64 address;
  Le64 count;
};
struct Copy {
  Le64 snapshot;  // 0 but for kPrivate
  Le64 chunk;
  Le64 count;
  Le64 address;
};
struct Create {
  Le64 epoch;
  Le64 created_ns;
  Le64 size;
  Le32 tag;
  Le32 reserved;
};
struct Number {
  Le64 key;
  Le64 value;
};
struct Exception {
  Le64 major;
  Le64 minor;
};
struct Boot {
  uint8_t id[16];
};
static_assert(sizeof(Extent) == 16 && sizeof(Copy) == 32 && sizeof(Create) == 32 &&
              sizeof(Number) == 16 && sizeof(Exception) == 16 && sizeof(Boot) == 16);

}  // namespace ddsnap::disk

#endif  // DDSNAP_STORE_DISK_FORMAT_H_
