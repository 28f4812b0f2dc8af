// SPDX-License-Identifier: GPL-2.0
// The server when the store is full, and when it fails.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/uuid.h"
#include "fill_alarm.h"
#include "served.h"
#include "unit.h"

using namespace ddsnap;
using test::FakeKernel;
using test::Served;

namespace {

// Copies `count` chunks from `chunk` on into the store.
void Fill(FakeKernel& kernel, uint64_t chunk, uint64_t count) {
  for (const auto& range : kernel.GetGrant(count)) {
    kernel.Report(
        {{.chunk = chunk, .address = range.address, .count = static_cast<uint32_t>(range.count)}});
    chunk += range.count;
  }
  (void)kernel.ExpectAck();
}

nlohmann::json StateOf(Served& s, Tag tag) {
  return s.Ask({{"verb", "status"}, {"tag", tag}})["snapshots"][0]["state"];
}

}  // namespace

START_TEST(each_level_of_filling_is_said_once) {
  server::FillAlarm alarm;
  ck_assert(!alarm.Update(0, 0));
  ck_assert(!alarm.Update(1000, 799));
  ck_assert(alarm.Update(1000, 800) == 80U);
  ck_assert(!alarm.Update(1000, 899));
  ck_assert(!alarm.Update(1000, 785));  // within the slack
  ck_assert(!alarm.Update(1000, 800));
  ck_assert(alarm.Update(1000, 990) == 95U);
  ck_assert(!alarm.Update(1000, 940));
  ck_assert(!alarm.Update(1000, 950));
  ck_assert(!alarm.Update(1000, 100));
  ck_assert(alarm.Update(1000, 900) == 90U);
}
END_TEST

START_TEST(a_full_store_gives_up_the_oldest_unused) {
  Served s(10);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  Fill(*kernel, 0, 5);
  (void)s.Create(*kernel, 1);
  Fill(*kernel, 0, 5);
  kernel->Send(wire::GrantWanted{4});
  const auto resume = kernel->Expect<wire::Resume>();
  ck_assert_uint_eq(resume.live, 1);
  const auto grant = kernel->ExpectType(wire::Grant::kType);
  ck_assert_uint_ge(wire::GetAll<wire::Grant>(grant.view()).size(), 1);
  ck_assert(StateOf(s, 0) == "given-up");
  ck_assert(StateOf(s, 1) == "ok");
  ck_assert_int_eq(s.Ask({{"verb", "state"}, {"tag", 0}})["state"].get<int>(), 2);
}
END_TEST

// A grant may hold chunks that a report of the same turn has freed.
START_TEST(a_grant_comes_after_the_acknowledgement_of_what_it_may_hold) {
  Served s(10);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const auto granted = kernel->GetGrant(2);
  kernel->Report({{.chunk = 0, .address = granted.front().address, .count = 1}});
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->ExpectAck();
  (void)kernel->ExpectType(wire::Grant::kType);
}
END_TEST

START_TEST(one_in_use_is_dropped_before_its_chunks_are_used) {
  Served s(5);
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  ck_assert_int_eq(kernel->Attach(epoch), 0);
  Fill(*kernel, 0, 5);
  kernel->Send(wire::GrantWanted{1});
  const auto first = kernel->Next();
  const auto second = kernel->Next();
  const auto& drop = first.type == wire::Drop::kType ? first : second;
  ck_assert_uint_eq(drop.type, wire::Drop::kType);
  ck_assert_uint_eq(wire::Get<wire::Drop>(drop.view()).value, epoch);
  ck_assert_uint_eq(s.store->space().free_chunks, 0);
  ck_assert(s.Ask({{"verb", "list"}})["snapshots"][0]["state"] == "given-up");
  ck_assert_uint_eq(kernel->waiting(), 0);
  kernel->Send(wire::Dropped{epoch});
  (void)kernel->ExpectType(wire::Grant::kType);
  // It cannot be attached again, and its device is dropped once more on a new link.
  const auto again = s.Link();
  ck_assert_int_eq(again->Attach(epoch), ESTALE);
  ck_assert_uint_eq(again->Expect<wire::Drop>().value, epoch);
}
END_TEST

START_TEST(priority_and_use_decide) {
  Served s(9);
  const auto kernel = s.Link();
  for (Tag tag = 0; tag < 3; ++tag) {
    (void)s.Create(*kernel, tag);
    Fill(*kernel, 0, 3);
  }
  (void)s.Ask({{"verb", "usecount"}, {"tag", 0}, {"diff", 1}});
  (void)s.Ask({{"verb", "priority"}, {"tag", 1}, {"priority", 5}});
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->Expect<wire::Resume>();
  (void)kernel->ExpectType(wire::Grant::kType);
  ck_assert(StateOf(s, 0) == "ok");
  ck_assert(StateOf(s, 1) == "ok");
  ck_assert(StateOf(s, 2) == "given-up");
}
END_TEST

START_TEST(nobody_left_means_denied) {
  Served s(3);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  (void)s.Ask({{"verb", "priority"}, {"tag", 0}, {"priority", 127}});
  Fill(*kernel, 0, 3);
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->ExpectType(DDSNAP_DENIED);
  ck_assert(StateOf(s, 0) == "ok");
  // Space that comes later serves the next request.
  (void)s.Ask({{"verb", "priority"}, {"tag", 0}, {"priority", 0}});
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->Expect<wire::Resume>();
  (void)kernel->ExpectType(wire::Grant::kType);
}
END_TEST

START_TEST(a_deletion_under_way_spares_the_others) {
  Served s(6);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  Fill(*kernel, 0, 3);
  (void)s.Create(*kernel, 1);
  Fill(*kernel, 0, 3);
  ck_assert(!s.Ask({{"verb", "delete"}, {"tag", 0}}).contains("error"));
  (void)kernel->Expect<wire::Resume>();
  (void)kernel->GetGrant(3);
  ck_assert(StateOf(s, 1) == "ok");
}
END_TEST

// The store says "soon" and has nothing to commit: the request is not forgotten.
START_TEST(space_that_is_coming_is_waited_for) {
  Served s(3);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  Fill(*kernel, 0, 1);
  s.Settle();
  s.store->TEST_PinFree();
  kernel->Send(wire::GrantWanted{2});
  const auto grant = kernel->ExpectType(wire::Grant::kType);
  ck_assert_uint_ge(wire::GetAll<wire::Grant>(grant.view()).size(), 1);
  ck_assert(StateOf(s, 0) == "ok");
}
END_TEST

START_TEST(a_failed_store_abandons_and_says_so) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  const uint64_t address = kernel->GetGrant(1)[0].address;
  s.store->TEST_FailCommits();
  kernel->Report({{.chunk = 5, .address = address, .count = 1}});
  const auto abandon = kernel->Expect<wire::Abandon>();  // and no ACK
  ck_assert_int_eq(abandon.error, EIO);
  const auto status = s.Ask({{"verb", "status"}});
  ck_assert(status["failed"] == "journal: Input/output error");
  ck_assert(status["snapshots"][0]["state"] == "given-up");
  ck_assert_int_eq(s.Ask({{"verb", "create"}, {"tag", 1}})["error"].get<int>(), EIO);
  // Copies that were under way are reported still, to nobody's harm.
  for (uint64_t i = 1; i <= 3; ++i) {
    kernel->Report({{.chunk = 5 + i, .address = address, .count = 1}});
  }
  wire::MappedHead head;
  (void)kernel->Map(epoch, 5, 1, &head);
  ck_assert_int_eq(head.error, ESTALE);
  const std::string mark = s.folder / ("state/abandoned/" + FormatUuid(s.store->uuid()));
  ck_assert_int_eq(::access(mark.c_str(), F_OK), 0);
  // Made where a file system was mounted since: the next request sees that it is gone.
  ck_assert_int_eq(::unlink(mark.c_str()), 0);
  (void)s.Ask({{"verb", "status"}});
  for (int i = 0; i < 1000 && ::access(mark.c_str(), F_OK) != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    (void)s.Ask({{"verb", "status"}});
  }
  ck_assert_int_eq(::access(mark.c_str(), F_OK), 0);
  // A kernel that links later hears it as well.
  const auto next = s.Unlinked();
  ck_assert_uint_eq(next->Greet(s.store->uuid(), 8000, 100).live, 0);
  (void)next->Expect<wire::Abandon>();
}
END_TEST

START_TEST(a_tool_hears_that_its_change_was_lost) {
  Served s;
  s.store->TEST_FailCommits();
  const auto answer = s.Ask({{"verb", "create"}, {"tag", 1}});
  ck_assert_int_eq(answer["error"].get<int>(), EIO);
}
END_TEST

UNIT_MAIN("server_space", each_level_of_filling_is_said_once,
          a_full_store_gives_up_the_oldest_unused,
          a_grant_comes_after_the_acknowledgement_of_what_it_may_hold,
          one_in_use_is_dropped_before_its_chunks_are_used, priority_and_use_decide,
          nobody_left_means_denied, a_deletion_under_way_spares_the_others,
          space_that_is_coming_is_waited_for,
          a_failed_store_abandons_and_says_so, a_tool_hears_that_its_change_was_lost)
