// SPDX-License-Identifier: GPL-2.0
// The server and users' tools.
#include <cerrno>

#include "served.h"
#include "unit.h"

using namespace ddsnap;
using test::Served;

namespace {

int ErrorOf(const nlohmann::json& answer) { return answer.value("error", 0); }

}  // namespace

START_TEST(without_a_kernel_snapshots_need_no_barrier) {
  Served s;
  ck_assert_uint_eq(s.Ask({{"verb", "create"}, {"tag", 3}})["epoch"].get<uint64_t>(), 1);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 3}})), EEXIST);
  const auto list = s.Ask({{"verb", "list"}});
  ck_assert_uint_eq(list["snapshots"].size(), 1);
  ck_assert_uint_eq(list["snapshots"][0]["size"].get<uint64_t>(), test::kOriginChunks * 4096);
  ck_assert_uint_eq(s.Ask({{"verb", "size"}})["sectors"].get<uint64_t>(), 8000);
  ck_assert_uint_eq(s.Ask({{"verb", "size"}, {"tag", 3}})["sectors"].get<uint64_t>(), 8000);
  ck_assert_int_eq(s.Ask({{"verb", "state"}, {"tag", 3}})["state"].get<int>(), 0);
  ck_assert_int_eq(s.Ask({{"verb", "state"}, {"tag", 4}})["state"].get<int>(), 1);
}
END_TEST

START_TEST(a_snapshot_becomes_a_bookmark_when_nothing_uses_it) {
  Served s;
  const auto kernel = s.Link();
  const Epoch base = s.Create(*kernel, 3);
  const auto copy = [&](uint64_t chunk) {
    const auto range = kernel->GetGrant(1).front();
    kernel->Report({{.chunk = chunk, .address = range.address, .count = 1}});
    (void)kernel->ExpectAck();
  };
  copy(7);
  const nlohmann::json bookmark = {{"verb", "bookmark"}, {"tag", 3}};
  s.Ask({{"verb", "usecount"}, {"tag", 3}, {"diff", 1}});
  ck_assert_int_eq(ErrorOf(s.Ask(bookmark)), EBUSY);
  s.Ask({{"verb", "usecount"}, {"tag", 3}, {"diff", -1}});
  ck_assert_int_eq(kernel->Attach(base), 0);
  ck_assert_int_eq(ErrorOf(s.Ask(bookmark)), EBUSY);
  kernel->Send(wire::Detach{base});
  ck_assert_uint_eq(s.Ask(bookmark)["epoch"].get<Epoch>(), base);
  ck_assert_int_eq(ErrorOf(s.Ask(bookmark)), EALREADY);
  ck_assert_int_eq(kernel->Attach(base), ENOENT);
  const auto list = s.Ask({{"verb", "list"}})["snapshots"];
  ck_assert(list[0]["state"] == "bookmark" && list[0]["tag"] == 3);
  ck_assert_int_eq(s.Ask({{"verb", "state"}, {"tag", 3}})["state"].get<int>(), 3);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 3}})), EEXIST);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "revert"}, {"step", "begin"}, {"tag", 3}})), ESTALE);
  s.Settle();
  ck_assert_uint_eq(s.store->space().free_chunks + s.store->TEST_granted(), 100);
  copy(8);  // the kernel goes on reporting, and its chunk is free again at once
  ck_assert_uint_eq(s.store->space().free_chunks + s.store->TEST_granted(), 100);
  std::vector<uint64_t> changed;
  (void)s.store->Changelist(base, 0, [&](const ChunkRange& range) {
    changed.push_back(range.chunk);
    return true;
  });
  ck_assert(changed == std::vector<uint64_t>({7, 8}));
  ck_assert(!s.Ask({{"verb", "changelist"}, {"from", 3}, {"to", -1}}).contains("error"));
  ck_assert(!s.Ask({{"verb", "delete"}, {"tag", 3}}).contains("error"));
  ck_assert_uint_eq(kernel->Expect<wire::Resume>().live, 0);
  s.Settle();
  ck_assert_int_eq(ErrorOf(s.Ask(bookmark)), ENOENT);
}
END_TEST

START_TEST(no_answer_before_the_origin_is_quiet) {
  Served s;
  const auto kernel = s.Link();
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 0}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  // A slow kernel holds up nobody else.
  ck_assert_uint_eq(s.Ask({{"verb", "list"}})["snapshots"].size(), 0);
  ck_assert_uint_eq(tool->waiting(), 0);
  kernel->Send(wire::Ready{id + 5});  // not of this barrier
  ck_assert_uint_eq(s.Ask({{"verb", "list"}})["snapshots"].size(), 0);
  kernel->Send(wire::Ready{id});
  ck_assert_uint_eq(kernel->Expect<wire::Resume>().epoch, 1);
  ck_assert_uint_eq(tool->Reply()["epoch"].get<uint64_t>(), 1);
}
END_TEST

START_TEST(a_barrier_that_takes_too_long_is_called_off) {
  Served s(100, 1);
  const auto kernel = s.Link();
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 0}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  const auto resume = kernel->Expect<wire::Resume>();
  ck_assert_uint_eq(resume.id, id);
  ck_assert_uint_eq(resume.epoch, 0);
  ck_assert_int_eq(ErrorOf(tool->Reply()), ETIMEDOUT);
  kernel->Send(wire::Ready{id});  // too late: nothing happens
  ck_assert_uint_eq(s.Ask({{"verb", "list"}})["snapshots"].size(), 0);
}
END_TEST

START_TEST(an_attached_kernel_without_link_is_waited_for) {
  Served s;
  { (void)s.Link(); }
  const auto tool = s.Tool();
  tool->Request({{"verb", "create"}, {"tag", 0}});
  ck_assert_uint_eq(s.Ask({{"verb", "list"}})["snapshots"].size(), 0);
  {
    const auto kernel = s.Link();
    (void)kernel->Expect<wire::Barrier>();
  }  // breaks before READY: the next link gets a barrier of its own
  const auto kernel = s.Link(false);
  (void)kernel->BecomeQuiet();
  ck_assert_uint_eq(kernel->Expect<wire::Resume>().epoch, 1);
  ck_assert_uint_eq(tool->Reply()["epoch"].get<uint64_t>(), 1);
}
END_TEST

START_TEST(and_not_for_ever) {
  Served s(100, 1);
  { (void)s.Link(); }
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 0}})), EAGAIN);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 0}})), EAGAIN);
}
END_TEST

START_TEST(a_detached_kernel_is_not_waited_for) {
  Served s;
  const auto kernel = s.Link();
  kernel->Send(wire::Detach{0});
  kernel->Close();
  ck_assert_uint_eq(s.Ask({{"verb", "create"}, {"tag", 0}})["epoch"].get<uint64_t>(), 1);
}
END_TEST

START_TEST(several_snapshots_share_one_barrier) {
  Served s;
  const auto kernel = s.Link();
  const auto a = s.Tool(), b = s.Tool();
  a->Request({{"verb", "create"}, {"tag", 1}});
  const uint64_t id = kernel->Expect<wire::Barrier>().value;
  b->Request({{"verb", "create"}, {"tag", 2}});
  (void)s.Ask({{"verb", "list"}});  // b's request has been read by then
  kernel->Send(wire::Ready{id});
  ck_assert_uint_eq(kernel->Expect<wire::Resume>().epoch, 2);
  ck_assert_uint_eq(a->Reply()["epoch"].get<uint64_t>(), 1);
  ck_assert_uint_eq(b->Reply()["epoch"].get<uint64_t>(), 2);
}
END_TEST

START_TEST(what_is_in_use_is_not_deleted) {
  Served s;
  const auto kernel = s.Link();
  const Epoch epoch = s.Create(*kernel, 0);
  ck_assert_int_eq(kernel->Attach(epoch), 0);
  ck_assert_uint_eq(s.Ask({{"verb", "usecount"}, {"tag", 0}})["usecount"].get<int>(), 1);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), EBUSY);
  kernel->Send(wire::Detach{epoch});
  ck_assert_uint_eq(s.Ask({{"verb", "usecount"}, {"tag", 0}, {"diff", 2}})["usecount"].get<int>(),
                    2);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), EBUSY);
  (void)s.Ask({{"verb", "usecount"}, {"tag", 0}, {"diff", -2}});
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "usecount"}, {"tag", 0}, {"diff", -1}})), ERANGE);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), 0);
  const auto resume = kernel->Expect<wire::Resume>();
  ck_assert_uint_eq(resume.id, 0);
  ck_assert_uint_eq(resume.epoch, epoch);
  ck_assert_uint_eq(resume.live, 0);
  ck_assert_int_eq(kernel->Attach(epoch), ENOENT);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), ENOENT);
}
END_TEST

START_TEST(malformed_requests_are_answered) {
  Served s;
  const auto tool = s.Tool();
  const auto ask_text = [&tool](const std::string& text) {
    wire::FrameWriter out;
    out.Put(wire::kControlRequest, 0, std::as_bytes(std::span(text)));
    tool->Send(out);
    return ErrorOf(tool->Reply());
  };
  ck_assert_int_eq(ask_text("[]"), EPROTO);
  ck_assert_int_eq(ask_text("{\"verb\""), EPROTO);
  ck_assert_int_eq(ask_text("\xff\xfe"), EPROTO);
  ck_assert_int_eq(ask_text(std::string(60000, '[')), EPROTO);
  ck_assert_int_eq(ask_text("{}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":7}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"fly\"}"), EOPNOTSUPP);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\"}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\",\"tag\":-1}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\",\"tag\":4294967295}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\",\"tag\":99999999999999999999}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\",\"tag\":1.5}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"priority\",\"tag\":5,\"priority\":0}"), ENOENT);
  ck_assert_int_eq(ask_text("{\"verb\":\"create\",\"tag\":5}"), 0);
  ck_assert_int_eq(ask_text("{\"verb\":\"priority\",\"tag\":5,\"priority\":128}"), EINVAL);
  ck_assert_int_eq(ask_text("{\"verb\":\"changelist\",\"from\":5,\"to\":6}"), ENOENT);
  ck_assert_int_eq(ask_text("{\"verb\":\"usecount\",\"tag\":5,\"diff\":70000}"), EINVAL);
}
END_TEST

START_TEST(a_tool_may_go_before_its_answer) {
  Served s;
  const auto kernel = s.Link();
  {
    const auto tool = s.Tool();
    tool->Request({{"verb", "create"}, {"tag", 0}});
    (void)kernel->Expect<wire::Barrier>();
  }
  kernel->Send(wire::Ready{1});
  ck_assert_uint_eq(kernel->Expect<wire::Resume>().epoch, 1);
  ck_assert_uint_eq(s.Ask({{"verb", "list"}})["snapshots"].size(), 1);
}
END_TEST

START_TEST(a_stuck_tool_holds_up_nobody) {
  Served s(900);
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const uint64_t address = kernel->GetGrant(900)[0].address;
  std::vector<wire::Report> reports;
  for (uint64_t i = 0; i < 450; ++i) {
    reports.push_back({.chunk = 2 * i, .address = address + i, .count = 1});
  }
  kernel->Report(reports);
  (void)kernel->ExpectAck();
  // Many tools that ask and never read.
  std::vector<std::unique_ptr<test::FakePeer>> stuck;
  for (int i = 0; i < 20; ++i) {
    stuck.push_back(s.Tool());
    stuck.back()->Pause(true);
    for (int n = 0; n < 200; ++n) {
      stuck.back()->Request({{"verb", "changelist"}, {"from", 0}, {"to", -1}});
    }
  }
  kernel->Report({{.chunk = 1, .address = address + 450, .count = 1}});
  (void)kernel->ExpectAck();
  const auto answer = s.Ask({{"verb", "changelist"}, {"from", 0}, {"to", -1}});
  ck_assert_uint_eq(answer["chunk_size"].get<int>(), 4096);
  // One that reads at last gets all of its answers.
  stuck[0]->Pause(false);
  for (int n = 0; n < 200; ++n) ck_assert_int_eq(ErrorOf(stuck[0]->Reply()), 0);
}
END_TEST

START_TEST(a_changelist_is_ranges_and_then_their_meaning) {
  Served s;
  const auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const uint64_t address = kernel->GetGrant(2)[0].address;
  kernel->Report({{.chunk = 4, .address = address, .count = 2}});
  (void)kernel->ExpectAck();
  (void)s.Create(*kernel, 1);
  const auto tool = s.Tool();
  tool->Request({{"verb", "changelist"}, {"from", 0}, {"to", 1}});
  const auto frame = tool->ExpectType(wire::kControlRanges);
  const auto ranges = wire::GetAll<wire::Changed>(frame.view());
  ck_assert_uint_eq(ranges.size(), 2);
  ck_assert_uint_eq(ranges[0].address, 4);
  const auto meaning = tool->Reply();
  ck_assert_int_eq(meaning["to"]["tag"].get<int>(), 1);
  // No change, no ranges.
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "changelist"}, {"from", 1}, {"to", -1}})), 0);
}
END_TEST

START_TEST(a_revert_is_remembered_until_it_ends) {
  Served s;
  (void)s.Ask({{"verb", "create"}, {"tag", 0}});
  (void)s.Ask({{"verb", "create"}, {"tag", 1}});
  const auto revert = [&s](int tag, const char* step) {
    return ErrorOf(s.Ask({{"verb", "revert"}, {"tag", tag}, {"step", step}}));
  };
  ck_assert(!s.Ask({{"verb", "status"}}).contains("reverting"));
  ck_assert_int_eq(revert(7, "begin"), ENOENT);
  ck_assert_int_eq(revert(0, "end"), ENOENT);
  ck_assert_int_eq(revert(0, "middle"), EINVAL);
  ck_assert_int_eq(revert(0, "begin"), 0);
  ck_assert_int_eq(revert(0, "begin"), 0);  // again, after a cut
  ck_assert_int_eq(s.Ask({{"verb", "status"}})["reverting"].get<int>(), 0);
  // No snapshot of what is neither old nor new, and the one in need stays.
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 2}})), EBUSY);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), EBUSY);
  ck_assert_int_eq(revert(1, "begin"), 0);  // another instead
  ck_assert_int_eq(revert(0, "end"), ENOENT);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "delete"}, {"tag", 0}})), 0);
  ck_assert_int_eq(revert(1, "end"), 0);
  ck_assert(!s.Ask({{"verb", "status"}}).contains("reverting"));
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "create"}, {"tag", 2}})), 0);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "revert"}, {"step", "cancel"}})), ENOENT);
  ck_assert_int_eq(revert(2, "begin"), 0);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "revert"}, {"step", "cancel"}})), 0);
  ck_assert(!s.Ask({{"verb", "status"}}).contains("reverting"));
}
END_TEST

// Sizes change between two links, and only to what the kernel sees.
START_TEST(a_resize_closes_the_link_and_waits_for_the_next) {
  Served s;
  auto kernel = s.Link();
  const auto tool = s.Tool();
  tool->Request({{"verb", "resize"}, {"origin", (test::kOriginChunks + 5) * 4096}});
  kernel->ExpectClosed();
  ck_assert_uint_eq(tool->waiting(), 0);
  kernel = s.Link();  // that sees the old sizes
  ck_assert_int_eq(ErrorOf(tool->Reply()), EINVAL);
  ck_assert_uint_eq(s.store->origin_size(), test::kOriginChunks * 4096);
  tool->Request(
      {{"verb", "resize"}, {"origin", (test::kOriginChunks + 5) * 4096}, {"store", 120 * 512}});
  kernel->ExpectClosed();
  kernel = s.Unlinked();
  (void)kernel->Greet(s.store->uuid(), (test::kOriginChunks + 5) * 8, 120);
  ck_assert_int_eq(kernel->Attach(0), 0);
  const auto answer = tool->Reply();
  ck_assert_uint_eq(answer["origin_size"].get<uint64_t>(), (test::kOriginChunks + 5) * 4096);
  ck_assert_uint_eq(answer["store_size"].get<uint64_t>(), 120 * 512);
  ck_assert_uint_eq(s.Ask({{"verb", "size"}})["sectors"].get<uint64_t>(),
                    (test::kOriginChunks + 5) * 8);
  ck_assert_int_eq(ErrorOf(s.Ask({{"verb", "resize"}, {"meta", 4096}})), EINVAL);
  for (const uint64_t odd : {uint64_t{512}, uint64_t{4095}, 2 * 4096 - uint64_t{512}}) {
    for (const uint64_t chunks : {test::kOriginChunks, test::kOriginChunks - 20}) {
      tool->Request({{"verb", "resize"}, {"origin", chunks * 4096 + odd}});
      kernel->ExpectClosed();
      kernel = s.Unlinked();
      (void)kernel->Greet(s.store->uuid(), (test::kOriginChunks + 5) * 8, 120);
      ck_assert_int_eq(kernel->Attach(0), 0);
      ck_assert_int_eq(ErrorOf(tool->Reply()), EINVAL);
    }
  }
  ck_assert_uint_eq(s.store->origin_size(), (test::kOriginChunks + 5) * 4096);
}
END_TEST

// WELCOME comes with the end of a turn whose commit takes its time; the kernel has the
// same time as ever from then on, and again from each thing that it says.
START_TEST(a_slow_commit_does_not_take_the_kernels_time) {
  Served s;
  auto kernel = s.Link();
  (void)s.Create(*kernel, 0);
  const auto tool = s.Tool();
  tool->Request({{"verb", "resize"}, {"origin", test::kOriginChunks * 4096}});
  kernel->ExpectClosed();
  kernel = s.Unlinked();
  s.store->TEST_SlowCommits(std::chrono::milliseconds(500));
  const unsigned commits = s.store->TEST_commits();
  const auto other = s.Tool();
  other->Request({{"verb", "priority"}, {"tag", 0}, {"priority", 3}});
  kernel->Send(wire::Hello{
      .uuid = s.store->uuid(), .origin_sectors = test::kOriginChunks * 8, .store_sectors = 100});
  (void)kernel->Expect<wire::Welcome>();
  ck_assert_uint_eq(s.store->TEST_commits(), commits + 1);
  s.store->TEST_SlowCommits(std::chrono::milliseconds(0));
  const auto quiet_for = [&](uint64_t ms) {
    const uint64_t until = EventLoop::NowMs() + ms;
    while (EventLoop::NowMs() < until) (void)s.loop.RunOnce(10);
    return tool->waiting() == 0;
  };
  ck_assert(quiet_for(150));
  kernel->Send(wire::Attach{0});
  (void)kernel->Expect<wire::Attached>();
  ck_assert(quiet_for(200));
  (void)tool->Reply();
}
END_TEST

UNIT_MAIN("server_control", a_snapshot_becomes_a_bookmark_when_nothing_uses_it,
          without_a_kernel_snapshots_need_no_barrier, no_answer_before_the_origin_is_quiet,
          a_barrier_that_takes_too_long_is_called_off,
          an_attached_kernel_without_link_is_waited_for, and_not_for_ever,
          a_detached_kernel_is_not_waited_for, several_snapshots_share_one_barrier,
          what_is_in_use_is_not_deleted, malformed_requests_are_answered,
          a_tool_may_go_before_its_answer, a_stuck_tool_holds_up_nobody,
          a_changelist_is_ranges_and_then_their_meaning, a_revert_is_remembered_until_it_ends,
          a_resize_closes_the_link_and_waits_for_the_next,
          a_slow_commit_does_not_take_the_kernels_time)
