// SPDX-License-Identifier: GPL-2.0
// The store's facade on devices in memory, and the checker on damaged ones.
#include "store/snapstore.h"

#include <cerrno>
#include <random>
#include <set>

#include "io/mem_device.h"
#include "store/checker.h"
#include "store/dumper.h"
#include "store/snapstore_impl.h"
#include "unit.h"

using namespace ddsnap;

namespace {

constexpr uint64_t kOriginChunks = 5000;

std::unique_ptr<SnapStore> Open(BlockDevice& device, uint8_t boot = 1) {
  OpenOptions options;
  options.boot_id[0] = boot;
  auto store = SnapStore::Open(device, nullptr, options);
  CK_OK(store);
  return std::move(*store);
}

void Format(BlockDevice& device) {
  FormatOptions options;
  options.chunk_size = 4096;
  options.origin_size = kOriginChunks * 4096;
  CK_OK(SnapStore::Format(device, nullptr, options));
}

uint64_t GrantOne(SnapStore& store) {
  auto ranges = store.Grant(1);
  CK_OK(ranges);
  CK_OK(store.Commit(false));
  return ranges->front().address;
}

void Copy(SnapStore& store, uint64_t chunk) {
  CK_OK(store.RecordCopy(chunk, 1, GrantOne(store)));
}

Run::Kind KindOf(SnapStore& store, Epoch epoch, uint64_t chunk) {
  auto runs = store.Lookup(epoch, chunk, 1, 1);
  CK_OK(runs);
  return runs->front().kind;
}

}  // namespace

START_TEST(an_empty_store_opens_and_is_sound) {
  MemDevice device(8 << 20);
  ck_assert(!SnapStore::IsFormatted(device));
  Format(device);
  ck_assert(SnapStore::IsFormatted(device));
  auto store = Open(device);
  ck_assert_uint_eq(store->live(), 0);
  ck_assert_uint_eq(store->epoch(), 0);
  auto report = CheckStore(device, nullptr);
  CK_OK(report);
  ck_assert(report->sound());
}
END_TEST

START_TEST(one_copy_serves_all_snapshots_up_to_its_label) {
  MemDevice device(8 << 20);
  Format(device);
  auto store = Open(device);
  CK_OK(store->Create(10, 0));
  CK_OK(store->Create(11, 0));
  Copy(*store, 7);
  CK_OK(store->Create(12, 0));
  ck_assert(KindOf(*store, 1, 7) == Run::Kind::kShared);
  ck_assert(KindOf(*store, 2, 7) == Run::Kind::kShared);
  ck_assert(KindOf(*store, 3, 7) == Run::Kind::kOrigin);
  auto space = store->SpaceOf(1);
  CK_OK(space);
  ck_assert_uint_eq(space->chunks, 1);
  ck_assert_uint_eq(space->unshared, 0);
  CK_OK(store->Delete(2));
  space = store->SpaceOf(1);
  ck_assert_uint_eq(space->unshared, 1);
}
END_TEST

START_TEST(a_copy_to_a_chunk_that_was_not_granted_is_refused) {
  MemDevice device(8 << 20);
  Format(device);
  auto store = Open(device);
  CK_OK(store->Create(1, 0));
  const Status s = store->RecordCopy(3, 1, 1000);
  ck_assert(!s);
  ck_assert_int_eq(s.error().code, EINVAL);
  ck_assert(!store->failed());
}
END_TEST

START_TEST(changelist_names_what_changed_between) {
  MemDevice device(8 << 20);
  Format(device);
  auto store = Open(device);
  CK_OK(store->Create(1, 0));
  Copy(*store, 5);
  CK_OK(store->Create(2, 0));
  for (const uint64_t chunk : {20, 21, 22, 40}) Copy(*store, chunk);
  CK_OK(store->Create(3, 0));
  Copy(*store, 99);
  std::vector<ChunkRange> ranges;
  const auto collect = [&](const ChunkRange& range) {
    ranges.push_back(range);
    return true;
  };
  CK_OK(store->Changelist(2, 3, collect));
  ck_assert_uint_eq(ranges.size(), 2);
  ck_assert(ranges[0] == (ChunkRange{20, 3}));
  ck_assert(ranges[1] == (ChunkRange{40, 1}));
  ranges.clear();
  CK_OK(store->Changelist(3, 1, collect));
  ck_assert_uint_eq(ranges.size(), 3);
  ranges.clear();
  CK_OK(store->Changelist(3, 0, collect));
  ck_assert_uint_eq(ranges.size(), 1);
  ck_assert_uint_eq(ranges[0].chunk, 99);
}
END_TEST

START_TEST(victims_are_lowest_then_unused_then_oldest_and_never_127) {
  MemDevice device(8 << 20);
  Format(device);
  auto store = Open(device);
  for (Tag tag = 1; tag <= 4; ++tag) CK_OK(store->Create(tag, 0));
  Copy(*store, 1);
  const auto nobody = [](Epoch) { return false; };
  ck_assert_uint_eq(store->VictimForSpace(nobody).value_or(0), 1);
  ck_assert_uint_eq(store->VictimForSpace([](Epoch e) { return e == 1; }).value_or(0), 2);
  CK_OK(store->SetPriority(1, 127));
  CK_OK(store->SetPriority(3, -5));
  ck_assert_uint_eq(store->VictimForSpace(nobody).value_or(0), 3);
  ck_assert_uint_eq(store->VictimForSpace([](Epoch e) { return e == 3; }).value_or(0), 3);
  for (const Epoch epoch : {2, 3, 4}) CK_OK(store->SetPriority(epoch, 127));
  ck_assert(!store->VictimForSpace(nobody));
}
END_TEST

START_TEST(thousands_of_snapshots_cost_an_insert_nothing) {
  MemDevice device(64 << 20);
  Format(device);
  auto store = Open(device);
  for (Tag tag = 0; tag < 4096; ++tag) CK_OK(store->Create(tag, 0));
  CK_OK(store->Commit(false));
  Copy(*store, 17);
  CK_OK(store->Commit(true));
  ck_assert(KindOf(*store, 1, 17) == Run::Kind::kShared);
  ck_assert(KindOf(*store, 4096, 17) == Run::Kind::kShared);
  store.reset();
  store = Open(device);
  ck_assert_uint_eq(store->live(), 4096);
  ck_assert(KindOf(*store, 2000, 17) == Run::Kind::kShared);
}
END_TEST

START_TEST(grants_of_an_earlier_boot_are_void) {
  MemDevice device(8 << 20);
  Format(device);
  auto store = Open(device, 1);
  const uint64_t all = store->space().free_chunks;
  CK_OK(store->Grant(100));
  CK_OK(store->Commit(false));
  ck_assert_uint_eq(store->space().free_chunks, all - 100);
  store.reset();
  store = Open(device, 1);
  ck_assert_uint_eq(store->space().free_chunks, all - 100);
  store.reset();
  store = Open(device, 2);
  ck_assert_uint_eq(store->space().free_chunks, all);
}
END_TEST

START_TEST(damage_to_any_block_in_use_is_found) {
  MemDevice device(8 << 20);
  Format(device);
  std::set<uint64_t> tree_blocks;
  {
    auto store = Open(device);
    std::mt19937_64 random(5);
    for (Tag tag = 0; tag < 3; ++tag) {
      CK_OK(store->Create(tag, 0));
      for (int i = 0; i < 200; ++i) Copy(*store, random() % kOriginChunks);
    }
    CK_OK(store->RecordPrivate(2, 9, 1, GrantOne(*store)));
    CK_OK(store->Checkpoint());
    auto& impl = static_cast<SnapStoreImpl&>(*store);
    for (uint32_t id = 0; id < disk::kTrees; ++id)
      CK_OK(impl.tree(static_cast<disk::TreeId>(id))
                .Walk([&](uint64_t block, uint32_t, uint32_t) { tree_blocks.insert(block); },
                      [](const Entry&) { return true; }, [](const Error&) { ck_abort(); }));
  }
  auto report = CheckStore(device, nullptr);
  CK_OK(report);
  ck_assert_msg(report->sound(), "%s", report->damages.empty() ? "" : report->damages[0].what.c_str());
  ck_assert_uint_ge(tree_blocks.size(), 5);
  tree_blocks.insert({disk::kFirstSuper, disk::kSecondSuper});
  for (const uint64_t block : tree_blocks) {
    for (const uint64_t at : {0, 5, 30, 60, 90, 4095}) {
      std::byte& byte = device.bytes()[block * 4096 + at];
      byte ^= std::byte{0x10};
      report = CheckStore(device, nullptr);
      ck_assert_msg(!report || !report->sound(), "block %lu byte %lu", (unsigned long)block,
                    (unsigned long)at);
      byte ^= std::byte{0x10};
    }
  }
}
END_TEST

START_TEST(no_damage_to_the_front_of_a_store_crashes_opening) {
  MemDevice device(8 << 20);
  Format(device);
  {
    auto store = Open(device);
    CK_OK(store->Create(1, 0));
    for (int i = 0; i < 50; ++i) Copy(*store, i * 3);
    CK_OK(store->Commit(true));
  }
  std::mt19937_64 random(11);
  for (int i = 0; i < 3000; ++i) {
    const uint64_t at = 4096 + random() % (400 * 4096);
    const std::byte old = device.bytes()[at];
    device.bytes()[at] = static_cast<std::byte>(random());
    (void)CheckStore(device, nullptr);
    device.bytes()[at] = old;
  }
}
END_TEST

START_TEST(a_journal_that_lost_a_batch_in_the_middle_is_refused) {
  MemDevice device(8 << 20);
  Format(device);
  Superblock super;
  {
    auto store = Open(device);
    for (Tag tag = 0; tag < 5; ++tag) {
      CK_OK(store->Create(tag, 0));
      CK_OK(store->Commit(false));
    }
    super = static_cast<SnapStoreImpl&>(*store).superblock();
  }
  device.bytes()[(super.journal_block + 3) * 4096 + 100] ^= std::byte{1};
  OpenOptions options;
  options.boot_id[0] = 1;
  auto store = SnapStore::Open(device, nullptr, options);
  ck_assert(!store);
  ck_assert_int_eq(store.error().code, EBADMSG);
}
END_TEST

START_TEST(dump_prints_json_that_parses) {
  MemDevice device(8 << 20);
  Format(device);
  {
    auto store = Open(device);
    CK_OK(store->Create(77, 0));
    Copy(*store, 4);
    CK_OK(store->Commit(true));
  }
  std::string text;
  CK_OK(DumpStore(device, nullptr, true, [&](std::string_view piece) { text += piece; }));
  ck_assert_msg(text.find("\"tag\":77") != std::string::npos, "%s", text.c_str());
  text.clear();
  CK_OK(DumpStore(device, nullptr, false, [&](std::string_view piece) { text += piece; }));
  ck_assert_msg(text.find("exception chunk=4 epoch=1") != std::string::npos, "%s", text.c_str());
}
END_TEST

UNIT_MAIN("store", an_empty_store_opens_and_is_sound,
          one_copy_serves_all_snapshots_up_to_its_label,
          a_copy_to_a_chunk_that_was_not_granted_is_refused, changelist_names_what_changed_between,
          victims_are_lowest_then_unused_then_oldest_and_never_127,
          thousands_of_snapshots_cost_an_insert_nothing, grants_of_an_earlier_boot_are_void,
          damage_to_any_block_in_use_is_found, no_damage_to_the_front_of_a_store_crashes_opening,
          a_journal_that_lost_a_batch_in_the_middle_is_refused, dump_prints_json_that_parses)
