// SPDX-License-Identifier: GPL-2.0
// One server ends and another goes on with its connections, or does not.
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "served.h"
#include "unit.h"

using namespace ddsnap;
using test::FakeKernel;
using test::Served;

namespace {

uint64_t Count(const std::vector<wire::Grant>& ranges) {
  uint64_t count = 0;
  for (const auto& range : ranges) count += range.count;
  return count;
}

// A handover as the store would hold it, with this description.
NamedFds Stored(const server::Handover& left, std::span<const std::byte> description) {
  NamedFds stored;
  for (size_t i = 0; i < left.fds.size(); ++i) {
    stored["connection-" + std::to_string(i)] = Fd(::dup(left.fds[i].get()));
  }
  stored["connections"] = *MakeMemory(description);
  return stored;
}

}  // namespace

START_TEST(the_link_goes_on) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  ck_assert_int_eq(kernel->Attach(epoch), 0);
  const auto grant = kernel->GetGrant(10);
  ck_assert_uint_eq(Count(grant), 10);
  kernel->Report({{.chunk = 5, .address = grant[0].address, .count = 1}});
  (void)kernel->ExpectAck();
  for (int round = 0; round < 3; ++round) {
    auto left = s.End();
    // What the kernel says meanwhile is not lost, in whatever pieces the servers see it.
    kernel->Report({{.chunk = 6, .address = grant[0].address + 1, .count = 1}});
    s.Start(std::move(left));
    ck_assert_uint_eq(kernel->ExpectAck(), epoch);
  }
  ck_assert_uint_eq(s.store->TEST_exception(6, epoch), grant[0].address + 1);
  ck_assert_uint_eq(s.store->TEST_granted(), 8);  // not given back, nor used for anything else
  const auto status = s.Ask({{"verb", "status"}});
  ck_assert(status["link"] == "connected");
  ck_assert_int_eq(status["snapshots"][0]["usecount"].get<int>(), 1);
  const Epoch next = s.Create(*kernel, 1);
  ck_assert_uint_eq(next, epoch + 1);
  kernel->Send(wire::Detach{epoch});
  (void)kernel->Map(next, 1, 1);
  ck_assert_int_eq(s.Ask({{"verb", "usecount"}, {"tag", 0}})["usecount"].get<int>(), 0);
}
END_TEST

START_TEST(a_frame_may_be_split_between_two_servers) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  const wire::Map request{.id = 7, .snapshot = epoch, .chunk = 3, .count = 1};
  wire::FrameWriter out;
  wire::PutAll<wire::Map>(out, std::span(&request, 1));
  kernel->SendRaw(out.bytes().first(29));
  s.Settle();
  auto left = s.End();
  ck_assert_uint_eq(left.kept.connections.at(0).unread.size(), 29);
  kernel->SendRaw(out.bytes().subspan(29));
  s.Start(std::move(left));
  (void)kernel->ExpectType(wire::MappedHead::kType);
}
END_TEST

START_TEST(grants_of_the_link_before_are_still_settled_only_once) {
  Served s(10);
  uint64_t kept = 0;
  {
    const auto first = s.Link();
    (void)s.Create(*first, 0);
    kept = first->GetGrant(10)[0].address;
  }
  // The link has not said GRANT_WANTED when its server ends: it may still report again.
  const auto kernel = s.Link();
  s.Start(s.End());
  ck_assert_uint_eq(s.store->TEST_granted(), 10);
  kernel->Report({{.chunk = 3, .address = kept, .count = 2}});
  (void)kernel->ExpectAck();
  ck_assert_uint_eq(Count(kernel->GetGrant(10)), 8);
  s.Start(s.End());
  // The store is full: the snapshot is given up for one chunk more, not a grant of this link.
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->Expect<wire::Resume>();
  (void)kernel->ExpectType(wire::Grant::kType);
  ck_assert_uint_eq(s.store->TEST_granted(), 9);
}
END_TEST

START_TEST(what_waits_for_dropped_still_does) {
  Served s(5);
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  ck_assert_int_eq(kernel->Attach(epoch), 0);
  const auto grant = kernel->GetGrant(5);
  kernel->Report({{.address = grant[0].address, .count = 5}});
  (void)kernel->ExpectAck();
  kernel->Send(wire::GrantWanted{1});
  (void)kernel->Next();  // DROP and RESUME
  (void)kernel->Next();
  s.Settle();
  s.Start(s.End());
  s.Settle();
  ck_assert_uint_eq(kernel->waiting(), 0);
  ck_assert_uint_eq(s.store->space().free_chunks, 0);  // the kernel may still read them
  kernel->Send(wire::Dropped{epoch});
  (void)kernel->ExpectType(wire::Grant::kType);
}
END_TEST

START_TEST(a_creation_under_way_is_ended_first) {
  Served s;
  const auto kernel = s.Link();
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 0}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  kernel->Send(wire::Ready{id});
  auto left = s.End();
  const Epoch epoch = kernel->Expect<wire::Resume>().epoch;
  ck_assert_uint_eq(tool->Reply().value("epoch", Epoch{0}), epoch);
  s.Start(std::move(left));
  ck_assert_uint_eq(kernel->Map(epoch, 1, 1).at(0).kind, DDSNAP_RUN_ORIGIN);
}
END_TEST

START_TEST(ready_of_a_barrier_that_timed_out_is_not_the_next_servers) {
  Served s(100, 100);
  const auto kernel = s.Link();
  (void)kernel->GetGrant(1);
  const uint64_t late = [&] {
    const auto tool = s.Tool();
    tool->Request({{"verb", "create"}, {"tag", 0}});
    const uint64_t id = kernel->Expect<wire::Barrier>().value;
    ck_assert_int_eq(tool->Reply().value("error", 0), ETIMEDOUT);
    (void)kernel->Expect<wire::Resume>();
    return id;
  }();
  s.Start(s.End());
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 1}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  ck_assert_uint_ne(id, late);
  kernel->Send(wire::Ready{late});
  kernel->Send(wire::Attach{0});
  (void)kernel->Expect<wire::Attached>();
  ck_assert_uint_eq(s.store->snapshots().size(), 0);
  kernel->Send(wire::Ready{id});
  (void)kernel->Expect<wire::Resume>();
  ck_assert(tool->Reply().contains("epoch"));
}
END_TEST

START_TEST(tools_that_have_connected_are_served) {
  Served s;
  const auto kernel = s.Link();
  const auto asked = s.Tool();
  (void)asked->Ask({{"verb", "list"}});
  const auto silent = s.Tool();
  s.Settle();
  auto left = s.End();
  asked->Request({{"verb", "status"}});
  silent->Request({{"verb", "status"}});
  s.Start(std::move(left));
  ck_assert(asked->Reply()["link"] == "connected");
  ck_assert(silent->Reply()["link"] == "connected");
}
END_TEST

START_TEST(a_link_in_doubt_is_closed) {
  const auto closed = [](const std::function<void(Served&, server::Handover&)>& change) {
    Served s;
    const auto kernel = s.Link();
    (void)s.Create(*kernel, 0);
    auto left = s.End();
    change(s, left);
    s.Start(std::move(left));
    kernel->ExpectClosed();
    (void)s.Link();  // the next one needs nothing of it
  };
  closed([](Served& s, auto&) {
    ck_assert(s.store->SetPriority(1, 3).has_value() && s.store->Commit(false).has_value());
  });
  closed([](Served&, auto& left) { ++left.kept.connections[0].link->epoch; });
  closed([](Served&, auto& left) { --left.kept.connections[0].link->live; });
  closed([](Served&, auto& left) { left.kept.connections[0].link->hello.uuid[3] ^= 1; });
  closed([](Served&, auto& left) { ++left.kept.connections[0].link->hello.version; });
  closed([](Served&, auto& left) { --left.kept.connections[0].link->hello.store_sectors; });
  closed([](Served&, auto& left) { left.kept.connections[0].link->hello.origin_sectors = 7; });
}
END_TEST

START_TEST(a_description_serves_once_and_whole) {
  Served s;
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const auto tool = s.Tool();
  (void)tool->Ask({{"verb", "list"}});
  const auto left = s.End();
  ck_assert_uint_eq(left.fds.size(), 2);
  const auto good = wire::EncodeKept(left.kept);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{0x10};
    ck_assert(!wire::DecodeKept(bad));
    ck_assert(!wire::DecodeKept(std::span(good).first(i)));
    ck_assert(server::TakeUp(Stored(left, bad)).fds.empty());
  }
  {
    auto stored = Stored(left, good);
    stored.erase("connection-1");
    ck_assert(server::TakeUp(std::move(stored)).fds.empty());
    stored = Stored(left, good);
    stored.erase("connections");
    ck_assert(server::TakeUp(std::move(stored)).fds.empty());
  }
  auto stored = Stored(left, good);
  const Fd memory(::dup(stored["connections"].get()));
  const auto taken = server::TakeUp(std::move(stored));
  ck_assert_uint_eq(taken.fds.size(), 2);
  ck_assert_uint_eq(taken.kept.commits, left.kept.commits);
  ck_assert(taken.kept.connections[0].link->attached == left.kept.connections[0].link->attached);
  // A second process of the same name would have this, and finds it empty.
  stored = Stored(left, good);
  stored["connections"] = Fd(::dup(memory.get()));
  ck_assert(server::TakeUp(std::move(stored)).fds.empty());
}
END_TEST

// Not even a store that took half of it makes a difference: the bytes of each direction are all
// there.
START_TEST(unsent_output_is_sent_by_the_next) {
  EventLoop loop = *EventLoop::New();
  int ends[2];
  ck_assert_int_eq(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  const wire::Channel::Handlers nothing{
      .frame = [](const wire::Frame&) -> Status { return {}; }, .closed = {}, .drained = {}};
  wire::Channel first(loop, Fd(ends[0]), nothing);
  wire::FrameWriter frames;
  for (uint64_t i = 0; i < 50000; ++i) wire::Put(frames, wire::Barrier{i});
  const size_t all = frames.size();
  first.Send(frames);
  auto left = first.Leave();
  ck_assert(left && !first.open() && !first.Leave());
  ck_assert_uint_gt(left->unsent.size(), 0);
  ck_assert_uint_lt(left->unsent.size(), all);
  wire::Channel second(loop, std::move(left->fd), nothing);
  second.Continue(left->unread, left->unsent);
  wire::Put(frames, wire::Barrier{50000});
  second.Send(frames);
  uint64_t next = 0;
  wire::Channel reader(loop, Fd(ends[1]),
                       {.frame = [&next](const wire::Frame& frame) -> Status {
                          ck_assert_uint_eq(wire::Get<wire::Barrier>(frame).value, next++);
                          return {};
                        },
                        .closed = {},
                        .drained = {}});
  ck_assert(test::RunUntil(loop, [&next] { return next == 50001; }));
}
END_TEST

UNIT_MAIN("server_handover", the_link_goes_on, a_frame_may_be_split_between_two_servers,
          grants_of_the_link_before_are_still_settled_only_once, what_waits_for_dropped_still_does,
          a_creation_under_way_is_ended_first,
          ready_of_a_barrier_that_timed_out_is_not_the_next_servers,
          tools_that_have_connected_are_served, a_link_in_doubt_is_closed,
          a_description_serves_once_and_whole, unsent_output_is_sent_by_the_next)
