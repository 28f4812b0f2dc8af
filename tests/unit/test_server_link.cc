// SPDX-License-Identifier: GPL-2.0
// The server and one kernel: link, copies, mappings, barriers.
#include <cerrno>

#include "served.h"
#include "unit.h"

using namespace ddsnap;
using test::FakeKernel;
using test::Served;

START_TEST(hello_is_checked) {
  Served s;
  const wire::Hello good{.uuid = s.store->uuid(), .origin_sectors = 8000, .store_sectors = 100};
  const auto refused = [&s](const wire::Hello& hello) {
    const auto kernel = s.Unlinked();
    kernel->Send(hello);
    const int error = kernel->Expect<wire::Refused>().error;
    kernel->ExpectClosed();
    return error;
  };
  wire::Hello bad = good;
  bad.version = 99;
  ck_assert_int_eq(refused(bad), EPROTONOSUPPORT);
  bad = good;
  bad.uuid[3] = 1;
  ck_assert_int_eq(refused(bad), ESTALE);
  bad = good;
  bad.origin_sectors = 7999;
  ck_assert_int_eq(refused(bad), EINVAL);
  bad = good;
  bad.store_sectors = 99;
  ck_assert_int_eq(refused(bad), EINVAL);
  const auto kernel = s.Unlinked();
  kernel->Send(good);
  const auto welcome = kernel->Expect<wire::Welcome>();
  ck_assert_uint_eq(welcome.chunk_shift, 3);
  ck_assert_uint_eq(welcome.epoch, 0);
  ck_assert_uint_eq(welcome.live, 0);
}
END_TEST

START_TEST(a_copy_is_acknowledged_when_it_is_durable) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  const auto grant = kernel->GetGrant(10);
  const unsigned commits = s.store->TEST_commits();
  kernel->Report({{.chunk = 5, .address = grant[0].address, .count = 1}});
  ck_assert_uint_eq(kernel->ExpectAck(), epoch);
  ck_assert_uint_gt(s.store->TEST_commits(), commits);
  ck_assert(s.store->TEST_last_flush());
  ck_assert_uint_eq(s.store->TEST_exception(5, epoch), grant[0].address);
  const auto runs = kernel->Map(epoch, 5, 1);
  ck_assert_uint_eq(runs.at(0).kind, DDSNAP_RUN_SHARED);
  ck_assert_uint_eq(runs.at(0).address, grant[0].address);
  ck_assert_uint_eq(kernel->Map(epoch, 6, 1).at(0).kind, DDSNAP_RUN_ORIGIN);
}
END_TEST

START_TEST(one_commit_serves_all_that_came_in) {
  Served s;
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const auto grant = kernel->GetGrant(50);
  const unsigned commits = s.store->TEST_commits();
  for (uint64_t i = 0; i < 50; ++i) {
    kernel->Report({{.chunk = i, .address = grant[0].address + i, .count = 1}});
  }
  (void)kernel->ExpectAck();
  ck_assert_uint_eq(s.store->TEST_commits(), commits + 1);
}
END_TEST

START_TEST(an_ack_carries_the_epoch_of_its_records) {
  Served s;
  const auto kernel = s.Link();
  const Epoch first = s.Create(*kernel, 0);
  const auto grant = kernel->GetGrant(10);
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 1}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  // Both in one turn: the record belongs to the first snapshot all the same.
  kernel->Report({{.chunk = 5, .address = grant[0].address, .count = 1}});
  kernel->Send(wire::Ready{id});
  ck_assert_uint_eq(kernel->ExpectAck(), first);
  const auto resume = kernel->Expect<wire::Resume>();
  ck_assert_uint_eq(resume.id, id);
  ck_assert_uint_eq(resume.epoch, first + 1);
  ck_assert_uint_eq(resume.live, 2);
  ck_assert_uint_ne(s.store->TEST_exception(5, first), 0);
  (void)tool->Reply();
}
END_TEST

START_TEST(bad_reports_end_the_link_and_are_not_acknowledged) {
  Served s;
  const auto rejected = [&s](wire::Report report, uint64_t sequence) {
    const auto kernel = s.Link();
    const auto grant = kernel->GetGrant(4);
    if (report.address == 0) report.address = grant[0].address;
    wire::FrameWriter out;
    wire::PutAll<wire::Report>(out, std::span(&report, 1), sequence);
    kernel->Send(out);
    kernel->ExpectClosed();
  };
  { (void)s.Create(*s.Link(), 0); }
  rejected({.chunk = 0, .count = 1}, 2);                          // a gap
  rejected({.chunk = 0, .count = 0}, 1);                          // nothing
  rejected({.chunk = test::kOriginChunks, .count = 1}, 1);        // outside
  rejected({.chunk = 1, .count = static_cast<uint32_t>(-1)}, 1);  // far outside
  rejected({.chunk = ~0ull, .count = 2}, 1);                      // wraps round
  rejected({.chunk = 0, .address = 99, .count = 1}, 1);           // never granted
  (void)s.Link();                                                 // and the server lives
}
END_TEST

START_TEST(grants_of_an_earlier_link_are_free_unless_reported_again) {
  Served s(10);
  uint64_t kept = 0;
  {
    const auto kernel = s.Link();
    (void)s.Create(*kernel, 0);
    kept = kernel->GetGrant(10)[0].address;
  }
  const auto kernel = s.Link();
  ck_assert_uint_eq(s.store->TEST_granted(), 10);
  kernel->Report({{.chunk = 3, .address = kept, .count = 2}});
  (void)kernel->ExpectAck();
  const auto grant = kernel->GetGrant(10);
  uint64_t count = 0;
  for (const auto& range : grant) count += range.count;
  ck_assert_uint_eq(count, 8);
  // The same report on yet another link is answered the same way.
  const auto again = s.Link();
  again->Report({{.chunk = 3, .address = kept, .count = 2}});
  ck_assert_uint_eq(again->ExpectAck(), 1);
}
END_TEST

START_TEST(the_newer_of_two_links_wins) {
  Served s;
  const auto old = s.Link();
  const auto kernel = s.Link();
  old->ExpectClosed();
  ck_assert_int_eq(kernel->Attach(0), 0);
  ck_assert(s.Ask({{"verb", "status"}})["link"] == "connected");
}
END_TEST

START_TEST(broken_frames_end_only_their_link) {
  Served s;
  const std::byte garbage[100] = {std::byte{0x42}};
  const auto noise = s.Unlinked();
  noise->SendRaw(garbage);
  noise->ExpectClosed();
  const auto early = s.Unlinked();
  early->Send(wire::Attach{0});  // no HELLO before
  early->ExpectClosed();
  const auto kernel = s.Link();
  kernel->Send(wire::Resume{});  // the server's word, not the kernel's
  kernel->ExpectClosed();
  // A frame in two pieces is one frame.
  const auto slow = s.Unlinked();
  wire::FrameWriter out;
  wire::Put(out,
            wire::Hello{.uuid = s.store->uuid(), .origin_sectors = 8000, .store_sectors = 100});
  slow->SendRaw(out.bytes().first(30));
  ck_assert(s.Ask({{"verb", "status"}})["link"] == "waiting");
  slow->SendRaw(out.bytes().subspan(30));
  (void)slow->Expect<wire::Welcome>();
}
END_TEST

START_TEST(mapping_errors_are_answers) {
  Served s;
  const auto kernel = s.Link();
  wire::MappedHead head;
  ck_assert_uint_eq(kernel->Map(77, 1, 1, &head).size(), 0);
  ck_assert_int_eq(head.error, ENOENT);
  const Epoch epoch = s.Create(*kernel, 0);
  ck_assert_uint_eq(kernel->Map(epoch, 1, 0, &head).size(), 0);
  ck_assert_int_eq(head.error, EINVAL);
}
END_TEST

START_TEST(private_and_unreadable_chunks) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  const uint64_t address = kernel->GetGrant(3)[0].address;
  kernel->Report({{.snapshot = epoch, .chunk = 1, .address = address, .count = 1},
                  {.chunk = 2, .address = address + 1, .count = 1, .unreadable = true}});
  (void)kernel->ExpectAck();
  ck_assert_uint_eq(kernel->Map(epoch, 1, 1).at(0).kind, DDSNAP_RUN_PRIVATE);
  ck_assert_uint_eq(kernel->Map(epoch, 2, 1).at(0).kind, DDSNAP_RUN_UNREADABLE);
}
END_TEST

START_TEST(identify_tells_what_a_table_line_means) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 7);
  const auto ask = [&s](uint32_t tag, uint64_t sectors) {
    auto peer = s.Unlinked();
    peer->Send(wire::Identify{.devices = test::kDevices, .sectors = sectors, .tag = tag});
    return peer;
  };
  const auto snapshot = ask(7, 8000)->Expect<wire::Identified>();
  ck_assert_uint_eq(snapshot.epoch, epoch);
  ck_assert_uint_eq(snapshot.sectors, 8000);
  ck_assert_uint_eq(ask(wire::kTagOrigin, 8000)->Expect<wire::Identified>().epoch, 0);
  ck_assert_int_eq(ask(8, 8000)->Expect<wire::Refused>().error, ENOENT);
  ck_assert_int_eq(ask(7, 8001)->Expect<wire::Refused>().error, EINVAL);
}
END_TEST

UNIT_MAIN("server_link", hello_is_checked, a_copy_is_acknowledged_when_it_is_durable,
          one_commit_serves_all_that_came_in, an_ack_carries_the_epoch_of_its_records,
          bad_reports_end_the_link_and_are_not_acknowledged,
          grants_of_an_earlier_link_are_free_unless_reported_again, the_newer_of_two_links_wins,
          broken_frames_end_only_their_link, mapping_errors_are_answers,
          private_and_unreadable_chunks, identify_tells_what_a_table_line_means)
