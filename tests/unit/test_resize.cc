// SPDX-License-Identifier: GPL-2.0
// A store whose devices become larger and smaller, and one of an earlier version.
#include <array>
#include <cerrno>
#include <cstring>

#include "base/crc32c.h"
#include "lib/fault_device.h"
#include "store/checker.h"
#include "store/snapstore_impl.h"
#include "unit.h"

using namespace ddsnap;

namespace {

constexpr uint64_t kChunk = 4096;
constexpr uint64_t kMiB = 1 << 20;

// With a part that cannot be written.
class PoorDevice : public FaultDevice {
 public:
  using FaultDevice::FaultDevice;
  void BadFrom(uint64_t offset) { bad_from_ = offset; }
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) override {
    if (offset + data.size() > bad_from_) return Fail(EIO, name() + ": cannot be written");
    return FaultDevice::Write(offset, data);
  }

 private:
  uint64_t bad_from_ = ~uint64_t{0};
};

struct Machine {
  explicit Machine(uint64_t store_bytes, uint64_t meta_bytes = 0)
      : store_device(power, store_bytes, "store"), meta_device(power, meta_bytes, "meta") {
    FormatOptions options;
    options.chunk_size = kChunk;
    options.origin_size = 100 * kChunk;
    CK_OK(SnapStore::Format(store_device, meta(), options));
    Open();
  }
  [[nodiscard]] BlockDevice* meta() { return meta_device.size() != 0 ? &meta_device : nullptr; }
  void Open() {
    store.reset();
    OpenOptions options;
    options.boot_id[0] = 1;
    auto opened = SnapStore::Open(store_device, meta(), options);
    CK_OK(opened);
    store = std::move(*opened);
  }
  void CheckSoundness() {
    auto report = CheckStore(store_device, meta());
    CK_OK(report);
    ck_assert_msg(report->sound(), "%s: %s", report->damages.front().where.c_str(),
                  report->damages.front().what.c_str());
  }
  // Every chunk that is free, as grants.
  uint64_t GrantAll() {
    uint64_t granted = 0;
    for (;;) {
      auto ranges = store->Grant(100000);
      if (!ranges) break;
      for (const Range& range : *ranges) granted += range.count;
      CK_OK(store->Commit(false));
    }
    return granted;
  }

  PowerSwitch power;
  PoorDevice store_device, meta_device;
  std::unique_ptr<SnapStore> store;
};

int ErrorOf(const Status& s) { return s ? 0 : s.error().code; }

}  // namespace

// Each time to the double: many pages, several segments.
START_TEST(it_grows_and_every_new_chunk_can_be_used) {
  Machine m(64 * kMiB, 4 * kMiB);
  for (uint64_t size = 64 * kMiB; size < 2048 * kMiB; size *= 2) {
    m.store_device.SetSize(size * 2 + 512);
    CK_OK(m.store->Resize(size * 2 + 512, 0));
    ck_assert_uint_eq(m.store->space().total_chunks, size * 2 / kChunk);
    ck_assert_uint_eq(m.store->space().free_chunks, size * 2 / kChunk);
    m.CheckSoundness();
    m.Open();
    ck_assert_uint_eq(m.store->store_size(), size * 2 + 512);
  }
  ck_assert_uint_eq(m.GrantAll(), 2048 * kMiB / kChunk);
  m.CheckSoundness();
}
END_TEST

START_TEST(a_metadata_device_grows) {
  Machine m(8 * kMiB, 4 * kMiB);
  const uint64_t before = m.store->space().metadata_free_bytes;
  for (uint64_t size = 8 * kMiB; size <= 1024 * kMiB; size *= 4) {
    m.meta_device.SetSize(size);
    CK_OK(m.store->Resize(0, size));
    ck_assert_uint_eq(m.store->meta_size(), size);
    m.CheckSoundness();
    m.Open();
  }
  ck_assert_uint_gt(m.store->space().metadata_free_bytes, before + 500 * kMiB);
  ck_assert_int_eq(ErrorOf(m.store->Resize(0, 4 * kMiB)), EOPNOTSUPP);
  ck_assert_int_eq(ErrorOf(m.store->Resize(0, 2048 * kMiB)), EINVAL);  // not that large
}
END_TEST

START_TEST(what_is_in_use_is_not_cut_off) {
  Machine m(16 * kMiB);
  const uint64_t all = m.GrantAll();
  const Status s = m.store->Resize(12 * kMiB, 0);
  ck_assert_int_eq(ErrorOf(s), EBUSY);
  ck_assert_msg(s.error().text.find("1024 chunks in use") != std::string::npos, "%s",
                s.error().text.c_str());
  CK_OK(m.store->ReturnAllGrants());
  CK_OK(m.store->Resize(12 * kMiB, 0));
  m.store_device.SetSize(12 * kMiB);
  m.CheckSoundness();
  m.Open();
  ck_assert_uint_eq(m.GrantAll(), all - 1024);
  // And back: with the same chunks as before.
  m.store_device.SetSize(16 * kMiB);
  CK_OK(m.store->Resize(16 * kMiB, 0));
  m.CheckSoundness();
  ck_assert_uint_eq(m.GrantAll(), 1024);
  ck_assert_int_eq(ErrorOf(m.store->Resize(1 * kMiB, 0)), EBUSY);  // its own metadata
}
END_TEST

// Its metadata was made for a store of that size.
START_TEST(a_store_with_its_own_metadata_has_a_limit) {
  Machine m(16 * kMiB);
  m.store_device.SetSize(4096 * kMiB);
  ck_assert_int_eq(ErrorOf(m.store->Resize(4096 * kMiB, 0)), EFBIG);
  // At least 60 bytes of trees for every chunk; a few blocks are something else.
  const StoreSpace space = m.store->space();
  const uint64_t chunks = (space.metadata_bytes + space.metadata_free_bytes + 32 * 4096) / 60;
  ck_assert_int_eq(ErrorOf(m.store->Resize(chunks * kChunk, 0)), EFBIG);
  CK_OK(m.store->Resize(48 * kMiB, 0));
  ck_assert_uint_eq(m.store->space().total_chunks, 48 * kMiB / kChunk);
  m.CheckSoundness();
}
END_TEST

START_TEST(what_is_refused_changes_nothing) {
  Machine m(16 * kMiB, 4 * kMiB);
  const uint64_t all = m.GrantAll();
  m.meta_device.SetSize(8 * kMiB);
  // The metadata could grow, the store cannot become smaller: neither is done.
  ck_assert_int_eq(ErrorOf(m.store->Resize(8 * kMiB, 8 * kMiB)), EBUSY);
  ck_assert_uint_eq(m.store->meta_size(), 4 * kMiB);
  m.meta_device.SetSize(4 * kMiB);
  CK_OK(m.store->ReturnAllGrants());
  CK_OK(m.store->Checkpoint());
  m.CheckSoundness();
  m.Open();
  ck_assert_uint_eq(m.GrantAll(), all);
}
END_TEST

START_TEST(a_new_part_that_cannot_be_written_costs_nothing) {
  Machine m(64 * kMiB, 4 * kMiB);
  CK_OK(m.store->Create(0, 0));
  m.meta_device.SetSize(512 * kMiB);
  m.store_device.SetSize(1024 * kMiB);
  m.meta_device.BadFrom(4 * kMiB);
  ck_assert_int_eq(ErrorOf(m.store->Resize(1024 * kMiB, 512 * kMiB)), EIO);
  ck_assert(!m.store->failed());
  ck_assert_uint_eq(m.store->store_size(), 64 * kMiB);
  ck_assert_uint_eq(m.store->space().free_chunks, 64 * kMiB / kChunk);
  CK_OK(m.store->Create(1, 0));
  CK_OK(m.store->Checkpoint());
  m.CheckSoundness();
  m.Open();
  ck_assert_ptr_nonnull(m.store->Find(0));
  m.meta_device.BadFrom(~uint64_t{0});
  CK_OK(m.store->Resize(1024 * kMiB, 512 * kMiB));
  m.CheckSoundness();
  m.Open();
  ck_assert_uint_eq(m.GrantAll(), 1024 * kMiB / kChunk);
}
END_TEST

// Map pages take tree blocks, but not those without which nothing is granted.
START_TEST(the_map_leaves_the_trees_their_reserve) {
  constexpr uint64_t kPage = disk::kBitsPerPage * kChunk;  // bytes that a page of the map covers
  Machine m(64 * kMiB, 4 * kMiB);
  m.store_device.SetSize(1000 * kPage);
  ck_assert_int_eq(ErrorOf(m.store->Resize(420 * kPage, 0)), ENOSPC);
  CK_OK(m.store->Grant(1));
  CK_OK(m.store->Resize(250 * kPage, 0));
  CK_OK(m.store->Grant(1));
  // No room to double it, but for what it needs.
  CK_OK(m.store->Resize(255 * kPage, 0));
  ck_assert_uint_eq(m.store->space().total_chunks, 255 * kPage / kChunk);
  CK_OK(m.store->Grant(1));
  m.Open();
  CK_OK(m.store->Grant(1));
  // A larger metadata device makes room for it in the same step.
  m.meta_device.SetSize(16 * kMiB);
  CK_OK(m.store->Resize(1000 * kPage, 16 * kMiB));
  CK_OK(m.store->Grant(1));
  m.Open();
  CK_OK(m.store->Grant(1));
}
END_TEST

START_TEST(an_origin_shrinks_when_its_end_is_copied) {
  Machine m(16 * kMiB);
  CK_OK(m.store->SetOriginSize(60 * kChunk));  // nobody needs its end
  CK_OK(m.store->SetOriginSize(100 * kChunk));
  auto epoch = m.store->Create(0, 0);
  CK_OK(epoch);
  ck_assert_int_eq(ErrorOf(m.store->SetOriginSize(90 * kChunk + 512)), EBUSY);
  auto grant = m.store->Grant(10);
  CK_OK(grant);
  // The chunk that the new end cuts through as well.
  CK_OK(m.store->RecordCopy(91, 9, grant->front().address));
  ck_assert_int_eq(ErrorOf(m.store->SetOriginSize(90 * kChunk + 512)), EBUSY);
  CK_OK(m.store->RecordCopy(90, 1, grant->front().address + 9));
  CK_OK(m.store->SetOriginSize(90 * kChunk + 512));
  CK_OK(m.store->Commit(true));
  m.Open();
  ck_assert_uint_eq(m.store->origin_size(), 90 * kChunk + 512);
  ck_assert_uint_eq(m.store->FindEpoch(*epoch)->size, 100 * kChunk);
  auto runs = m.store->Lookup(*epoch, 0, 100, 100);
  CK_OK(runs);
  ck_assert_int_eq(static_cast<int>(runs->back().kind), static_cast<int>(Run::Kind::kShared));
  // A private chunk past the origin's end.
  grant = m.store->Grant(1);
  CK_OK(grant);
  CK_OK(m.store->RecordPrivate(*epoch, 99, 1, grant->front().address));
  auto small = m.store->Create(1, 0);
  CK_OK(small);
  ck_assert_uint_eq(m.store->FindEpoch(*small)->size, 90 * kChunk + 512);
  CK_OK(m.store->Commit(true));
  m.CheckSoundness();
}
END_TEST

START_TEST(what_no_snapshot_has_is_not_kept) {
  Machine m(16 * kMiB);
  CK_OK(m.store->SetOriginSize(50 * kChunk));
  const Epoch small = *m.store->Create(0, 0);
  CK_OK(m.store->SetOriginSize(100 * kChunk));
  const uint64_t free = m.store->space().free_chunks;
  auto grant = m.store->Grant(4);
  CK_OK(grant);
  ck_assert_uint_eq(grant->front().count, 4);
  const uint64_t address = grant->front().address;
  // Across the end of the snapshot, and past it.
  CK_OK(m.store->RecordCopy(49, 2, address));
  CK_OK(m.store->RecordCopy(98, 1, address + 2));
  CK_OK(m.store->RecordUnreadable(99, 1, address + 3));
  CK_OK(m.store->Commit(true));
  ck_assert_uint_eq(m.store->space().free_chunks, free - 1);
  auto space = m.store->SpaceOf(small);
  CK_OK(space);
  ck_assert_uint_eq(space->chunks, 1);
  m.CheckSoundness();
  m.Open();
  ck_assert_uint_eq(m.store->space().free_chunks, free - 1);
  // Told again on another link.
  CK_OK(m.store->RecordCopy(49, 2, address));
  CK_OK(m.store->RecordUnreadable(99, 1, address + 3));
  ck_assert_uint_eq(m.store->space().free_chunks, free - 1);
  // A snapshot of the larger origin needs them.
  const Epoch large = *m.store->Create(1, 0);
  grant = m.store->Grant(2);
  CK_OK(grant);
  CK_OK(m.store->RecordCopy(98, 2, grant->front().address));
  CK_OK(m.store->Commit(true));
  auto runs = m.store->Lookup(large, 98, 2, 10);
  CK_OK(runs);
  ck_assert_int_eq(static_cast<int>(runs->front().kind), static_cast<int>(Run::Kind::kShared));
  ck_assert_uint_eq(runs->front().count, 2);
  m.CheckSoundness();
}
END_TEST

START_TEST(an_origin_shrinks_past_snapshots_of_several_sizes) {
  Machine m(16 * kMiB);
  const auto copy = [&m](uint64_t from, uint64_t to) {
    auto grant = m.store->Grant(to - from);
    CK_OK(grant);
    ck_assert_uint_eq(grant->front().count, to - from);
    CK_OK(m.store->RecordCopy(from, to - from, grant->front().address));
  };
  const Epoch large = *m.store->Create(0, 0);
  copy(50, 100);
  CK_OK(m.store->SetOriginSize(50 * kChunk));
  const Epoch small = *m.store->Create(1, 0);
  CK_OK(m.store->SetOriginSize(100 * kChunk));
  // The newest does not have what lies past chunk 50; the older one has it in the store.
  ck_assert_int_eq(ErrorOf(m.store->SetOriginSize(40 * kChunk)), EBUSY);
  copy(41, 50);
  ck_assert_int_eq(ErrorOf(m.store->SetOriginSize(40 * kChunk)), EBUSY);
  copy(40, 41);
  CK_OK(m.store->SetOriginSize(40 * kChunk));
  CK_OK(m.store->Commit(true));
  m.Open();
  m.CheckSoundness();
  for (const auto& [epoch, chunks] : {std::pair{large, 100}, {small, 50}}) {
    auto runs = m.store->Lookup(epoch, 40, static_cast<uint64_t>(chunks) - 40, 100);
    CK_OK(runs);
    for (const Run& run : *runs)
      ck_assert_int_eq(static_cast<int>(run.kind), static_cast<int>(Run::Kind::kShared));
  }
}
END_TEST

START_TEST(a_goal_of_a_revert_is_not_cut_off) {
  Machine m(16 * kMiB);
  const Epoch epoch = *m.store->Create(0, 0);
  CK_OK(m.store->SetOriginSize(120 * kChunk));
  auto grant = m.store->Grant(1);
  CK_OK(grant);
  CK_OK(m.store->RecordCopy(99, 1, grant->front().address));
  CK_OK(m.store->SetReverting(epoch));
  ck_assert_int_eq(ErrorOf(m.store->SetOriginSize(99 * kChunk)), EBUSY);
  CK_OK(m.store->SetOriginSize(100 * kChunk));
  CK_OK(m.store->SetReverting(0));
  CK_OK(m.store->SetOriginSize(99 * kChunk));
}
END_TEST

// Whatever a report says, the answer does not take for ever.
START_TEST(a_report_for_a_snapshot_that_is_gone_has_a_bound) {
  Machine m(16 * kMiB);
  const Epoch epoch = *m.store->Create(0, 0);
  CK_OK(m.store->Delete(epoch));
  CK_OK(m.store->Commit(false));
  for (auto more = m.store->Step(); more && *more; more = m.store->Step())
    CK_OK(m.store->Commit(false));
  ck_assert_ptr_null(m.store->FindEpoch(epoch));
  ck_assert_int_eq(ErrorOf(m.store->RecordPrivate(epoch, 0, uint64_t{1} << 62, 1)), EINVAL);
}
END_TEST

START_TEST(a_store_of_version_1_becomes_one_of_today) {
  Machine m(16 * kMiB);
  CK_OK(m.store->Create(5, 0));
  CK_OK(m.store->Checkpoint());
  m.store.reset();
  std::array<std::byte, 4096> block;
  for (unsigned copy = 1; copy <= 2; ++copy) {
    CK_OK(m.store_device.Read(copy * 4096, block));
    block[12] = std::byte{1};
    std::memset(&block[8], 0, 4);
    const Le32 crc = Crc32c(block);
    std::memcpy(&block[8], &crc, 4);
    CK_OK(m.store_device.Write(copy * 4096, block));
  }
  m.Open();
  ck_assert_uint_eq(m.store->reverting(), 0);
  CK_OK(m.store->SetReverting(m.store->Find(5)->epoch));
  // Before the journal has what version 1 does not know, both copies refuse who knows only that.
  for (unsigned copy = 1; copy <= 2; ++copy) {
    CK_OK(m.store_device.Read(copy * 4096, block));
    ck_assert_uint_eq(std::to_integer<unsigned>(block[12]), disk::kVersion);
  }
  CK_OK(m.store->Commit(false));
  m.Open();
  ck_assert_uint_eq(m.store->reverting(), 1);
  ck_assert_int_eq(ErrorOf(m.store->Delete(1)), EBUSY);
  CK_OK(m.store->Checkpoint());
  m.Open();
  ck_assert_uint_eq(m.store->reverting(), 1);
}
END_TEST

UNIT_MAIN("resize", it_grows_and_every_new_chunk_can_be_used, a_metadata_device_grows,
          what_is_in_use_is_not_cut_off, a_store_with_its_own_metadata_has_a_limit,
          what_is_refused_changes_nothing, a_new_part_that_cannot_be_written_costs_nothing,
          the_map_leaves_the_trees_their_reserve, an_origin_shrinks_when_its_end_is_copied,
          what_no_snapshot_has_is_not_kept, an_origin_shrinks_past_snapshots_of_several_sizes,
          a_goal_of_a_revert_is_not_cut_off, a_report_for_a_snapshot_that_is_gone_has_a_bound,
          a_store_of_version_1_becomes_one_of_today)
