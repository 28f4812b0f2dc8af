// SPDX-License-Identifier: GPL-2.0
// What the store is made of: superblock, space map, block cache, tree, journal,
// each against a model and against damage.
#include <cerrno>
#include <map>
#include <random>

#include "base/crc32c.h"
#include "io/mem_device.h"
#include "store/block_cache.h"
#include "store/btree.h"
#include "store/journal.h"
#include "store/snapstore.h"
#include "store/space_map.h"
#include "store/superblock.h"
#include "unit.h"

using namespace ddsnap;
using disk::kBlock;

namespace {

constexpr Uuid kUuid = {1, 2, 3};

// A formatted device and its newest superblock.
struct Formatted {
  explicit Formatted(uint64_t size = 16 << 20) : device(size) {
    FormatOptions options;
    options.chunk_size = 4096;
    options.origin_size = 64 << 20;
    options.uuid = kUuid;
    CK_OK(SnapStore::Format(device, nullptr, options));
    auto found = ReadSuperblock(device);
    CK_OK(found);
    super = found->super;
  }
  std::unique_ptr<SpaceMap> LoadMap(unsigned number, unsigned copy, uint64_t generation) {
    auto map = SpaceMap::Load(device, kUuid, super.maps[number], copy, generation, 16);
    CK_OK(map);
    return std::move(*map);
  }
  MemDevice device;
  Superblock super;
};

Value ValueOf(uint64_t v) { return {v}; }

}  // namespace

START_TEST(a_superblock_comes_back) {
  Formatted f;
  f.super.generation = 7;
  f.super.epoch = 99;
  f.super.journal_position = 12345;
  f.super.roots[disk::kLabels] = {500, 1000, 3};
  CK_OK(WriteSuperblock(f.device, 1, f.super));
  auto found = ReadSuperblock(f.device);
  CK_OK(found);
  ck_assert_uint_eq(found->copy, 1);
  ck_assert_uint_eq(found->super.generation, 7);
  ck_assert_uint_eq(found->super.epoch, 99);
  ck_assert_uint_eq(found->super.journal_position, 12345);
  ck_assert_uint_eq(found->super.roots[disk::kLabels].entries, 1000);
  ck_assert(!found->other);
}
END_TEST

START_TEST(every_flipped_bit_of_a_superblock_is_noticed) {
  Formatted f;
  const size_t at = SuperblockPlace(0) * kBlock;
  for (size_t byte = 0; byte < kBlock; ++byte) {
    f.device.bytes()[at + byte] ^= std::byte{0x10};
    ck_assert_msg(!ParseSuperblock({f.device.bytes().data() + at, kBlock}, 1, "d"), "byte %zu",
                  byte);
    f.device.bytes()[at + byte] ^= std::byte{0x10};
  }
  // In the other's place it is not good either, and one good copy is enough.
  ck_assert(!ParseSuperblock({f.device.bytes().data() + at, kBlock}, 2, "d"));
  f.device.bytes()[at] ^= std::byte{1};
  auto found = ReadSuperblock(f.device);
  CK_OK(found);
  ck_assert(found->copy == 1 && found->other);
}
END_TEST

START_TEST(a_newer_version_is_refused_by_name) {
  Formatted f;
  for (unsigned copy = 0; copy < 2; ++copy) {
    f.device.bytes()[SuperblockPlace(copy) * kBlock + 12] = std::byte{4};
  }
  auto found = ReadSuperblock(f.device);
  ck_assert(!found && found.error().code == EPROTONOSUPPORT);
  ck_assert(found.error().text.find("version 4") != std::string::npos);
}
END_TEST

START_TEST(a_space_map_is_a_set_through_checkpoints) {
  Formatted f;
  auto map = f.LoadMap(1, 0, 1);
  std::mt19937 random(2);
  std::vector<bool> model(map->units());
  for (uint64_t i = 0; i < map->units(); ++i) model[i] = *map->Test(i);
  unsigned copy = 0;
  uint64_t generation = 1;
  for (int step = 0; step < 3000; ++step) {
    if (random() % 3 != 0) {
      auto found = map->AllocateUp(1 + random() % 20);
      CK_OK(found);
      if (!*found) continue;
      for (uint64_t i = 0; i < (*found)->count; ++i) {
        ck_assert_msg(!model[(*found)->start + i], "unit %lu handed out twice",
                      static_cast<unsigned long>((*found)->start + i));
        model[(*found)->start + i] = true;
      }
    } else {
      const uint64_t unit = random() % map->units();
      // The metadata's own chunks are never freed.
      if (unit < map->units() / 2 || !model[unit]) continue;
      CK_OK(map->Clear(unit, 1, true));
      model[unit] = false;
      ck_assert(!map->Clear(unit, 1, true));  // twice is damage
    }
    if (step % 500 != 499) continue;
    copy = 1 - copy;
    ++generation;
    map->Freeze();
    for (;;) {
      auto more = map->WriteFrozen(2, copy, generation);
      CK_OK(more);
      if (!*more) break;
    }
    f.super.maps[1] = map->frozen_layout();
    map->Durable();
    map = f.LoadMap(1, copy, generation);
    uint64_t free = 0;
    for (uint64_t i = 0; i < map->units(); ++i) {
      ck_assert(*map->Test(i) == model[i]);
      free += model[i] ? 0 : 1;
    }
    ck_assert_uint_eq(map->free_units(), free);
  }
}
END_TEST

// Invariant (1) of the map: what a durable superblock may lead to is not reused.
START_TEST(freed_units_wait_for_the_checkpoint) {
  Formatted f;
  auto map = f.LoadMap(1, 0, 1);
  uint64_t first = 0;
  for (;;) {  // all of it
    auto found = map->AllocateUp(1000);
    CK_OK(found);
    if (!*found) break;
    first = (*found)->start;
  }
  CK_OK(map->Clear(first, 1, true));
  auto none = map->AllocateUp(1);
  CK_OK(none);
  ck_assert(!*none);
  map->Freeze();
  CK_OK(map->WriteFrozen(~size_t{0}, 1, 2));
  ck_assert_uint_eq(map->available(), 0);
  map->Durable();
  auto again = map->AllocateUp(1);
  CK_OK(again);
  ck_assert(*again && (*again)->start == first);
}
END_TEST

START_TEST(a_tree_is_a_sorted_map) {
  Formatted f(64 << 20);
  BlockCache cache(f.device, kUuid, 300, true);
  auto map = f.LoadMap(0, 0, 1);
  Transaction tx(cache, *map, 2);
  BTree tree(tx, disk::kExceptions, {});
  std::mt19937_64 random(3);
  std::map<Key, uint64_t> model;
  for (int step = 0; step < 40000; ++step) {
    const Key key{random() % 3000, random() % 4};
    // Grows, then shrinks to nothing.
    if (random() % 100 < (step < 20000 ? 70 : 20)) {
      const uint64_t value = random();
      CK_OK(tree.Put(key, ValueOf(value)));
      model[key] = value;
    } else {
      auto gone = tree.Erase(key);
      CK_OK(gone);
      ck_assert(*gone == (model.erase(key) == 1));
    }
    ck_assert_uint_eq(tree.size(), model.size());
    const Key probe{random() % 3000, random() % 4};
    auto floor = tree.Floor(probe);
    auto ceil = tree.Ceil(probe);
    CK_OK(floor);
    CK_OK(ceil);
    const auto above = model.lower_bound(probe);
    ck_assert(ceil->has_value() == (above != model.end()));
    if (*ceil) ck_assert((*ceil)->key == above->first && (*ceil)->value[0] == above->second);
    const auto behind = model.upper_bound(probe);
    ck_assert(floor->has_value() == (behind != model.begin()));
    if (*floor) ck_assert((*floor)->key == std::prev(behind)->first);
    if (step % 10000 == 0) {
      tx.Freeze();
      CK_OK(cache.WriteFrozen(~size_t{0}));
      map->Durable();
    }
  }
  auto expected = model.begin();
  CK_OK(tree.Scan({}, [&](const Entry& entry) {
    ck_assert(entry.key == expected->first && entry.value[0] == expected->second);
    ++expected;
    return true;
  }));
  ck_assert(expected == model.end());
}
END_TEST

START_TEST(a_damaged_node_is_not_used) {
  Formatted f;
  auto map = f.LoadMap(0, 0, 1);
  TreeRoot root;
  {
    BlockCache cache(f.device, kUuid, 300, true);
    Transaction tx(cache, *map, 2);
    BTree tree(tx, disk::kExceptions, {});
    for (uint64_t i = 0; i < 100; ++i) CK_OK(tree.Put({i, 1}, ValueOf(i)));
    tx.Freeze();
    CK_OK(cache.WriteFrozen(~size_t{0}));
    root = tree.root();
  }
  const auto get = [&](disk::TreeId id, const Uuid& uuid) {
    BlockCache cache(f.device, uuid, 300, false);
    Transaction tx(cache, *map, 3);
    return BTree(tx, id, root).Get({5, 1});
  };
  CK_OK(get(disk::kExceptions, kUuid));
  ck_assert(!get(disk::kPrivates, kUuid));      // another tree's
  ck_assert(!get(disk::kExceptions, Uuid{9}));  // another store's
  std::byte* node = f.device.bytes().data() + root.block * kBlock;
  for (const size_t place : {0ul, 5ul, 30ul, 100ul, kBlock - 1}) {
    node[place] ^= std::byte{1};
    ck_assert_msg(!get(disk::kExceptions, kUuid), "byte %zu", place);
    node[place] ^= std::byte{1};
  }
  // Keys out of order under a right checksum.
  std::swap_ranges(node + 48, node + 48 + 24, node + 48 + 24);
  const uint32_t crc = HeaderChecksum({node, kBlock});
  std::memcpy(node + 4, &crc, 4);
  auto bad = get(disk::kExceptions, kUuid);
  ck_assert(!bad && bad.error().text.find("order") != std::string::npos);
}
END_TEST

START_TEST(a_journal_replays_what_was_committed) {
  MemDevice device(64 * kBlock);
  std::vector<uint64_t> told;
  uint64_t position = 3;  // close to the ring's end, so that it wraps
  uint64_t sequence = 1;
  std::mt19937 random(4);
  for (int round = 0; round < 50; ++round) {
    Journal journal(device, kUuid, 8, 16, position, sequence);
    std::vector<uint64_t> replayed;
    CK_OK(
        journal.Replay([&](uint16_t type, uint16_t, std::span<const std::byte> payload) -> Status {
          if (type != disk::kDelete || payload.size() != 16) return Fail(EBADMSG, "not mine");
          disk::Number number;
          std::memcpy(static_cast<void*>(&number), payload.data(), 16);
          replayed.push_back(number.key);
          return {};
        }));
    ck_assert(replayed == told);
    // The next mount begins behind all this, as after a checkpoint.
    position = journal.position();
    sequence = journal.sequence();
    journal.Release(position);
    told.clear();
    for (unsigned batches = random() % 4; batches > 0; --batches) {
      for (unsigned records = 1 + random() % 300; records > 0; --records) {
        disk::Number number;
        number.key = random();
        number.value = 0;
        told.push_back(number.key);
        journal.Append(disk::kDelete, number);
      }
      CK_OK(journal.Commit());
    }
  }
}
END_TEST

START_TEST(a_torn_last_batch_ends_the_journal_and_an_earlier_one_refuses_it) {
  MemDevice device(64 * kBlock);
  Journal writer(device, kUuid, 8, 32, 0, 1);
  for (uint64_t i = 0; i < 3; ++i) {
    disk::Number number;
    number.key = i;
    number.value = 0;
    writer.Append(disk::kDelete, number);
    CK_OK(writer.Commit());
  }
  const auto replay = [&](uint64_t* records) {
    Journal reader(device, kUuid, 8, 32, 0, 1);
    *records = 0;
    return reader.Replay([&](uint16_t, uint16_t, std::span<const std::byte>) -> Status {
      ++*records;
      return {};
    });
  };
  uint64_t records = 0;
  CK_OK(replay(&records));
  ck_assert_uint_eq(records, 3);
  device.bytes()[10 * kBlock + 70] ^= std::byte{1};  // the last
  CK_OK(replay(&records));
  ck_assert_uint_eq(records, 2);
  device.bytes()[10 * kBlock + 70] ^= std::byte{1};
  device.bytes()[9 * kBlock + 70] ^= std::byte{1};  // the one before
  auto refused = replay(&records);
  ck_assert(!refused && refused.error().code == EBADMSG);
}
END_TEST

START_TEST(a_full_journal_says_so) {
  MemDevice device(64 * kBlock);
  Journal journal(device, kUuid, 8, 4, 0, 1);
  disk::Boot boot{};
  for (int i = 0; i < 4; ++i) {
    journal.Append(disk::kBoot, boot);
    CK_OK(journal.Commit());
  }
  journal.Append(disk::kBoot, boot);
  auto full = journal.Commit();
  ck_assert(!full && full.error().code == ENOSPC);
  journal.Release(2);
  CK_OK(journal.Commit());  // nothing of the batch was lost
  ck_assert_uint_eq(journal.used(), 3);
}
END_TEST

UNIT_MAIN("structures", a_superblock_comes_back, every_flipped_bit_of_a_superblock_is_noticed,
          a_newer_version_is_refused_by_name, a_space_map_is_a_set_through_checkpoints,
          freed_units_wait_for_the_checkpoint, a_tree_is_a_sorted_map, a_damaged_node_is_not_used,
          a_journal_replays_what_was_committed,
          a_torn_last_batch_ends_the_journal_and_an_earlier_one_refuses_it, a_full_journal_says_so)
