// SPDX-License-Identifier: GPL-2.0
// Bookmarks in the store: what they know, what they cost, and when they are given up.
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/crc32c.h"
#include "io/mem_device.h"
#include "store/checker.h"
#include "store/dumper.h"
#include "store/snapstore_impl.h"
#include "unit.h"

using namespace ddsnap;

namespace {

struct Machine {
  explicit Machine(uint64_t store_bytes = 8 << 20, uint64_t chunks = 5000) : device(store_bytes) {
    FormatOptions options;
    options.chunk_size = 4096;
    options.origin_size = chunks * 4096;
    CK_OK(SnapStore::Format(device, nullptr, options));
    Open();
    free = store->space().free_chunks;
  }
  void Open() {
    store.reset();
    OpenOptions options;
    options.boot_id[0] = 1;
    auto opened = SnapStore::Open(device, nullptr, options);
    CK_OK(opened);
    store = std::move(*opened);
  }
  uint64_t GrantOne() {
    auto ranges = store->Grant(1);
    CK_OK(ranges);
    return ranges->front().address;
  }
  void Write(std::initializer_list<uint64_t> chunks) {
    for (const uint64_t chunk : chunks) CK_OK(store->RecordCopy(chunk, 1, GrantOne()));
  }
  Epoch Create(Tag tag) {
    auto epoch = store->Create(tag, 0);
    CK_OK(epoch);
    return *epoch;
  }
  std::set<uint64_t> Changed(Epoch from, Epoch to) {
    std::set<uint64_t> chunks;
    CK_OK(store->Changelist(from, to, [&](const ChunkRange& range) {
      for (uint64_t i = 0; i < range.count; ++i) chunks.insert(range.chunk + i);
      return true;
    }));
    return chunks;
  }
  // All background work; with `kill` the server is killed in its midst now and then.
  void Drain(bool kill = false) {
    uint64_t kill_at = 1;
    for (uint64_t turn = 0;; ++turn) {
      CK_OK(store->Commit(true));
      auto more = store->Step();
      CK_OK(more);
      CK_OK(store->Commit(true));
      if (!*more) break;
      if (!kill || turn != kill_at) continue;
      Open();
      kill_at *= 2;
    }
    auto report = CheckStore(device, nullptr);
    CK_OK(report);
    ck_assert_msg(report->sound(), "%s",
                  report->damages.empty() ? "" : report->damages[0].what.c_str());
  }
  uint64_t Used() { return free - store->space().free_chunks; }

  MemDevice device;
  std::unique_ptr<SnapStore> store;
  uint64_t free = 0;
};

using Chunks = std::set<uint64_t>;

}  // namespace

START_TEST(a_bookmark_knows_what_changed_and_keeps_nothing) {
  Machine m;
  const Epoch base = m.Create(1);
  m.Write({5, 6});
  CK_OK(m.store->Bookmark(base));
  ck_assert_uint_eq(m.store->live(), 1);  // first writes must go on being reported
  ck_assert(m.store->Find(1)->state == Snapshot::State::kBookmark);
  ck_assert_int_eq(m.store->Create(1, 0).error().code, EEXIST);
  ck_assert_int_eq(m.store->Bookmark(base).error().code, EALREADY);
  ck_assert_int_eq(m.store->Lookup(base, 5, 1, 1).error().code, ESTALE);
  m.Drain();
  ck_assert_uint_eq(m.Used(), 0);
  m.Write({7, 5});
  m.Drain();
  ck_assert_uint_eq(m.Used(), 0);
  const Epoch target = m.Create(2);
  m.Write({5, 9});
  ck_assert(m.Changed(base, target) == Chunks({5, 6, 7}));
  ck_assert(m.Changed(base, 0) == Chunks({5, 6, 7, 9}));
  ck_assert_uint_eq(m.Used(), 2);
  m.Open();  // nothing was lost that was not committed: the last writes were not
  ck_assert(m.Changed(base, 0) == Chunks({5, 6, 7}));
}
END_TEST

START_TEST(a_snapshot_between_may_go_and_an_older_one_stays_whole) {
  Machine m;
  const Epoch old = m.Create(1);
  m.Write({1});
  const Epoch mark = m.Create(2);
  m.Write({2});
  const Epoch between = m.Create(3);
  m.Write({3, 2});
  const Epoch last = m.Create(4);
  CK_OK(m.store->Bookmark(mark));
  m.Drain();
  auto run = m.store->Lookup(old, 2, 1, 1);
  CK_OK(run);
  ck_assert(run->front().kind == Run::Kind::kShared);
  CK_OK(m.store->Delete(between));
  m.Drain();
  ck_assert(m.Changed(mark, last) == Chunks({2, 3}));
  ck_assert_uint_eq(m.Used(), 3);  // 1, 2 and 3 as the oldest has them
  CK_OK(m.store->Delete(old));
  m.Drain();
  ck_assert_uint_eq(m.Used(), 0);
  ck_assert(m.Changed(mark, last) == Chunks({2, 3}));
  CK_OK(m.store->Delete(mark));
  m.Drain();
  auto report = CheckStore(m.device, nullptr);
  CK_OK(report);
  ck_assert_uint_eq(report->exceptions, 0);
  ck_assert(m.store->Find(2) == nullptr);
}
END_TEST

START_TEST(of_two_bookmarks_each_keeps_its_own) {
  Machine m;
  const Epoch first = m.Create(1);
  m.Write({1});
  const Epoch second = m.Create(2);
  m.Write({1, 2});
  const Epoch target = m.Create(3);
  CK_OK(m.store->Bookmark(first));
  CK_OK(m.store->Bookmark(second));
  CK_OK(m.store->Delete(first));  // before it was stripped
  m.Drain();
  ck_assert(m.Changed(second, target) == Chunks({1, 2}));
  ck_assert_uint_eq(m.Used(), 0);
  auto report = CheckStore(m.device, nullptr);
  CK_OK(report);
  ck_assert_uint_eq(report->exceptions, 2);
}
END_TEST

START_TEST(what_a_snapshot_had_of_its_own_counts_as_changed) {
  Machine m;
  const Epoch base = m.Create(1);
  CK_OK(m.store->RecordPrivate(base, 40, 1, m.GrantOne()));
  m.Write({50});
  CK_OK(m.store->Bookmark(base));
  m.Drain();
  ck_assert_uint_eq(m.Used(), 0);
  const Epoch target = m.Create(2);
  ck_assert(m.Changed(base, target) == Chunks({40, 50}));
  // A report of its device that comes late has no effect.
  CK_OK(m.store->RecordPrivate(base, 41, 1, m.GrantOne()));
  ck_assert_uint_eq(m.Used(), 0);
  CK_OK(m.store->Delete(base));
  m.Drain();
  auto report = CheckStore(m.device, nullptr);
  CK_OK(report);
  ck_assert_uint_eq(report->privates, 0);
}
END_TEST

START_TEST(stripping_goes_on_after_any_restart) {
  Machine m(32 << 20);
  const Epoch base = m.Create(1);
  Chunks all;
  for (uint64_t chunk = 0; chunk < 3000; ++chunk) {
    m.Write({chunk});
    all.insert(chunk);
    if (chunk % 100 == 0) CK_OK(m.store->RecordPrivate(base, 4000 + chunk / 100, 1, m.GrantOne()));
    if (chunk % 100 == 0) all.insert(4000 + chunk / 100);
    if (m.store->batch_full()) CK_OK(m.store->Commit(true));
  }
  CK_OK(m.store->Bookmark(base));
  m.Drain(/*kill=*/true);
  ck_assert_uint_eq(m.Used(), 0);
  ck_assert(m.Changed(base, 0) == all);
  CK_OK(m.store->Delete(base));
  m.Drain(true);
  auto report = CheckStore(m.device, nullptr);
  CK_OK(report);
  ck_assert_uint_eq(report->exceptions + report->privates, 0);
}
END_TEST

START_TEST(what_is_still_read_of_a_given_up_snapshot_stays) {
  Machine m;
  const Epoch one = m.Create(1), two = m.Create(2), three = m.Create(3);
  m.Write({5, 6});
  CK_OK(m.store->GiveUp(two));
  CK_OK(m.store->Bookmark(one));
  CK_OK(m.store->Delete(three));
  m.Drain();
  ck_assert_uint_eq(m.Used(), 2);  // a device has it, and may be reading
  m.Open();
  m.Drain();
  ck_assert_uint_eq(m.Used(), 2);
  m.store->ReleaseGivenUp(two);
  m.Drain();
  ck_assert_uint_eq(m.Used(), 0);
  ck_assert(m.Changed(one, 0) == Chunks({5, 6}));
}
END_TEST

START_TEST(a_bookmark_ends_where_the_origin_is_cut) {
  Machine m;
  const Epoch base = m.Create(1);
  CK_OK(m.store->Bookmark(base));
  CK_OK(m.store->SetOriginSize(1000 * 4096));  // nothing needs its end
  CK_OK(m.store->Commit(true));
  m.Open();
  ck_assert_uint_eq(m.store->FindEpoch(base)->size, 1000 * 4096);
  CK_OK(m.store->SetOriginSize(2000 * 4096));
  ck_assert_uint_eq(m.store->FindEpoch(base)->size, 1000 * 4096);
  m.Write({999, 1500});  // past its end it need not be told
  ck_assert(m.Changed(base, 0) == Chunks({999}));
}
END_TEST

START_TEST(a_goal_of_a_revert_and_what_was_given_up_become_none) {
  Machine m;
  const Epoch one = m.Create(1), two = m.Create(2);
  CK_OK(m.store->SetReverting(one));
  ck_assert_int_eq(m.store->Bookmark(one).error().code, EBUSY);
  CK_OK(m.store->SetReverting(0));
  CK_OK(m.store->GiveUp(two));
  ck_assert_int_eq(m.store->Bookmark(two).error().code, ESTALE);
  ck_assert_int_eq(m.store->Bookmark(77).error().code, ENOENT);
  CK_OK(m.store->Bookmark(one));
  ck_assert_int_eq(m.store->SetReverting(one).error().code, ESTALE);
  CK_OK(m.store->GiveUp(one));
  bool any = false;
  const Status s = m.store->Changelist(one, 0, [&](const ChunkRange&) { return any = true; });
  ck_assert_int_eq(s.error().code, ESTALE);
  ck_assert_uint_eq(m.store->live(), 0);
}
END_TEST

START_TEST(where_metadata_is_short_bookmarks_go_first) {
  Machine m(3 << 20, 1 << 20);
  const auto unused = [](Epoch) { return false; };
  const Epoch kept = m.Create(1);
  m.Write({0});
  const Epoch first = m.Create(2), second = m.Create(3);
  CK_OK(m.store->SetPriority(first, 127));  // protects snapshots alone
  CK_OK(m.store->Bookmark(first));
  CK_OK(m.store->Bookmark(second));
  ck_assert(m.store->VictimForSpace(unused) == kept);  // a bookmark has no chunks to be freed
  CK_OK(m.store->Delete(kept));
  m.Drain();
  ck_assert(m.store->VictimForSpace(unused) == second);
  uint64_t chunk = 1;
  int code = 0;
  for (;; code = 0) {
    auto ranges = m.store->Grant(64);
    if (!ranges && (code = ranges.error().code) == ENOSPC) break;
    if (!ranges) ck_assert_int_eq(code, EAGAIN);
    if (ranges)
      for (const Range& range : *ranges) {
        CK_OK(m.store->RecordCopy(chunk, range.count, range.address));
        chunk += range.count;
      }
    CK_OK(m.store->Commit(true));
    CK_OK(m.store->Step());
    CK_OK(m.store->Commit(true));
  }
  ck_assert_uint_ge(chunk, 1000);
  ck_assert_uint_lt(chunk, 1 << 20);
  const Epoch snapshot = m.Create(4);
  CK_OK(m.store->SetPriority(snapshot, -128));
  for (const Epoch victim : {second, first}) {
    ck_assert(m.store->VictimForSpace(unused) == victim);
    CK_OK(m.store->GiveUp(victim));
    m.store->ReleaseGivenUp(victim);
  }
  m.Drain();
  CK_OK(m.store->Grant(64));
  ck_assert(m.store->FindEpoch(snapshot)->state == Snapshot::State::kOk);
}
END_TEST

START_TEST(a_program_that_knows_no_bookmarks_refuses_the_store) {
  Machine m;
  const Epoch base = m.Create(1);
  m.Write({3});
  CK_OK(m.store->Checkpoint());
  CK_OK(m.store->Checkpoint());
  m.store.reset();
  std::array<std::byte, 4096> block;
  for (unsigned copy = 1; copy <= 2; ++copy) {  // as version 2 has left it
    CK_OK(m.device.Read(copy * 4096, block));
    block[12] = std::byte{2};
    std::memset(&block[8], 0, 4);
    const Le32 crc = Crc32c(block);
    std::memcpy(&block[8], &crc, 4);
    CK_OK(m.device.Write(copy * 4096, block));
  }
  m.Open();
  CK_OK(m.store->Bookmark(base));
  CK_OK(m.store->Commit(false));
  for (unsigned copy = 1; copy <= 2; ++copy) {
    CK_OK(m.device.Read(copy * 4096, block));
    ck_assert_uint_eq(std::to_integer<unsigned>(block[12]), 3);
  }
  m.Open();
  ck_assert(m.store->FindEpoch(base)->state == Snapshot::State::kBookmark);
  ck_assert(m.Changed(base, 0) == Chunks({3}));
}
END_TEST

START_TEST(check_and_dump_know_them) {
  Machine m;
  const Epoch base = m.Create(1);
  CK_OK(m.store->RecordPrivate(base, 8, 1, m.GrantOne()));
  m.Write({3});
  CK_OK(m.store->Bookmark(base));
  m.Drain();
  CK_OK(m.store->Checkpoint());
  auto report = CheckStore(m.device, nullptr);
  CK_OK(report);
  ck_assert_uint_eq(report->bookmarks, 1);
  ck_assert_uint_eq(report->snapshots, 0);
  std::string text;
  CK_OK(DumpStore(m.device, nullptr, false, [&](std::string_view piece) { text += piece; }));
  ck_assert_msg(text.find("state=\"bookmark\"") != std::string::npos, "%s", text.c_str());
  ck_assert_msg(text.find("exception chunk=3 epoch=1 kept=false") != std::string::npos, "%s",
                text.c_str());
  // The same entries under a snapshot that is live are damage.
  CK_OK(m.store->Delete(base));
  m.store.reset();
  Machine other;
  const Epoch live = other.Create(1);
  other.Write({3});
  auto& impl = static_cast<SnapStoreImpl&>(*other.store);
  CK_OK(impl.tree(disk::kExceptions).Put({3, live}, {kNotKept}));
  auto run = other.store->Lookup(live, 3, 1, 1);
  CK_OK(run);
  ck_assert(run->front().kind == Run::Kind::kUnreadable);
  CK_OK(other.store->Checkpoint());
  report = CheckStore(other.device, nullptr);
  CK_OK(report);
  ck_assert(!report->sound());
  ck_assert(report->damages[0].what.find("snapshots need it") != std::string::npos);
}
END_TEST

START_TEST(check_finds_what_is_wrong_with_them) {
  const auto found = [](Machine& m) {
    CK_OK(m.store->Checkpoint());
    auto report = CheckStore(m.device, nullptr);
    CK_OK(report);
    return report->damages;
  };
  // A change that its changelist does not have any more.
  Machine m;
  const Epoch base = m.Create(7);
  m.Write({3});
  CK_OK(m.store->Bookmark(base));
  m.Drain();
  ck_assert(found(m).empty());
  auto& impl = static_cast<SnapStoreImpl&>(*m.store);
  CK_OK(impl.tree(disk::kExceptions).Erase({3, base}));
  auto damages = found(m);
  const auto touched = [](const Damage& d) {
    return d.severity == Damage::Severity::kMajor && d.tags == std::vector<Tag>{7};
  };
  ck_assert(std::ranges::any_of(damages, touched));
  // Contents that were left, of the snapshot and of its own.
  Machine other;
  const Epoch mark = other.Create(7);
  CK_OK(other.store->RecordPrivate(mark, 8, 1, other.GrantOne()));
  other.Write({3});
  CK_OK(other.store->Bookmark(mark));
  other.Drain();
  ck_assert(found(other).empty());
  const uint64_t left[] = {other.GrantOne(), other.GrantOne()};
  auto& store = static_cast<SnapStoreImpl&>(*other.store);
  CK_OK(store.tree(disk::kExceptions).Put({3, mark}, {left[0]}));
  CK_OK(store.tree(disk::kPrivates).Put({mark, 8}, {left[1]}));
  damages = found(other);
  const auto leftover = [](const Damage& d) {
    return d.severity == Damage::Severity::kMinor &&
           d.what.find("nobody reads") != std::string::npos;
  };
  ck_assert_int_eq(std::ranges::count_if(damages, leftover), 2);
}
END_TEST

UNIT_MAIN("bookmark", a_bookmark_knows_what_changed_and_keeps_nothing,
          a_snapshot_between_may_go_and_an_older_one_stays_whole,
          of_two_bookmarks_each_keeps_its_own, what_a_snapshot_had_of_its_own_counts_as_changed,
          stripping_goes_on_after_any_restart, what_is_still_read_of_a_given_up_snapshot_stays,
          a_bookmark_ends_where_the_origin_is_cut,
          a_goal_of_a_revert_and_what_was_given_up_become_none,
          where_metadata_is_short_bookmarks_go_first,
          a_program_that_knows_no_bookmarks_refuses_the_store, check_and_dump_know_them,
          check_finds_what_is_wrong_with_them)
