// SPDX-License-Identifier: GPL-2.0
#include <sys/stat.h>

#include <cerrno>
#include <chrono>

#include "agent/agent.h"
#include "io/unix_socket.h"
#include "lib/fake_peer.h"
#include "lib/temp_folder.h"
#include "unit.h"

using namespace ddsnap;
using test::FakePeer;

namespace {

const wire::VolumeDevices kVolume = {{8, 1}, {8, 2}};
const Uuid kUuid = {7};

// Stands in for device-mapper: the "kernel" greets its new server.
Status Greet(const wire::Device& dm_dev, int fd) {
  if (dm_dev.major != 253) return FailErrno(ENXIO, "message");
  wire::FrameWriter out;
  wire::Put(out, wire::Hello{.uuid = kUuid});
  auto sent = out.WriteTo(fd);
  if (!sent) return Pass(sent);
  return {};
}

struct Host {
  explicit Host(uint64_t identify_wait_ms = 20000)
      : agent(loop, *ListenUnix(socket), Greet, identify_wait_ms) {}
  test::TempFolder folder;
  std::string socket = folder / "agent";
  std::string server_socket = folder / "server";
  EventLoop loop = *EventLoop::New();
  agent::Agent agent;

  [[nodiscard]] wire::Register Registration() const {
    return {.devices = kVolume, .uuid = kUuid, .socket = server_socket};
  }
  [[nodiscard]] std::unique_ptr<FakePeer> AcceptAt(const Fd& listener) {
    Fd fd;
    ck_assert(test::RunUntil(loop, [&] {
      auto result = AcceptUnix(listener.get());
      if (result) fd = std::move(*result);
      return result.has_value();
    }));
    return std::make_unique<FakePeer>(loop, std::move(fd));
  }
};

wire::Identify Identify() { return {.devices = kVolume, .sectors = 100, .tag = 3}; }
wire::NeedServer NeedServer() { return {.devices = kVolume, .dm_dev = {253, 5}, .uuid = kUuid}; }

}  // namespace

START_TEST(the_socket_is_roots_alone) {
  Host host;
  struct stat st {};
  ck_assert_int_eq(::stat(host.socket.c_str(), &st), 0);
  ck_assert_int_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(identify_is_passed_on_and_back) {
  Host host;
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  (void)registration.ExpectType(wire::kRegistered);
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(Identify());
  const auto server = host.AcceptAt(listener);
  ck_assert_uint_eq(server->Expect<wire::Identify>().tag, 3);
  server->Send(wire::Identified{.uuid = kUuid, .epoch = 9, .sectors = 100, .chunk_shift = 5});
  ck_assert_uint_eq(kernel.Expect<wire::Identified>().epoch, 9);
  kernel.ExpectClosed();
}
END_TEST

START_TEST(identify_waits_for_a_server) {
  Host host;
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(Identify());
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  (void)host.AcceptAt(listener);  // and goes away without an answer
  const auto server = host.AcceptAt(listener);
  (void)server->Expect<wire::Identify>();
  server->Send(wire::Refused{ENOENT, "no such snapshot"});
  const auto refused = kernel.Expect<wire::Refused>();
  ck_assert_int_eq(refused.error, ENOENT);
  ck_assert(refused.reason == "no such snapshot");
}
END_TEST

START_TEST(identify_ends_with_a_reason) {
  Host host(1);
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(Identify());
  const auto refused = kernel.Expect<wire::Refused>();
  ck_assert_int_eq(refused.error, ENOENT);
  ck_assert(refused.reason == "no server has registered for store 8:1, origin 8:2");
  kernel.ExpectClosed();
}
END_TEST

START_TEST(the_servers_socket_is_handed_over) {
  Host host;
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(NeedServer());
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  const auto server = host.AcceptAt(listener);
  ck_assert(server->Expect<wire::Hello>().uuid == kUuid);
  kernel.ExpectClosed();
  // Only the "kernel", which was the child, had the other end.
  server->ExpectClosed();
}
END_TEST

START_TEST(a_failed_hand_over_lets_the_kernel_ask_again) {
  Host host;
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  FakePeer kernel(host.loop, host.socket);
  auto need = NeedServer();
  need.dm_dev.major = 1;
  kernel.Send(need);
  kernel.ExpectClosed();
}
END_TEST

START_TEST(another_volume_is_refused) {
  Host host;
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  FakePeer kernel(host.loop, host.socket);
  auto need = NeedServer();
  need.uuid = {8};
  kernel.Send(need);
  ck_assert_int_eq(kernel.Expect<wire::Refused>().error, ESTALE);
  kernel.ExpectClosed();
}
END_TEST

START_TEST(a_registration_ends_with_its_connection) {
  Host host(1);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  (void)registration.ExpectType(wire::kRegistered);
  registration.Close();
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(Identify());
  ck_assert_int_eq(kernel.Expect<wire::Refused>().error, ENOENT);
}
END_TEST

// A service manager that listens where the server was starts another one for whoever connects.
START_TEST(a_server_that_was_stopped_is_woken) {
  Host host;
  {
    FakePeer registration(host.loop, host.socket);
    registration.Send(host.Registration());
    (void)registration.ExpectType(wire::kRegistered);
  }
  FakePeer kernel(host.loop, host.socket);
  kernel.Send(NeedServer());  // nobody listens, and it waits
  const Fd listener = *ListenUnix(host.server_socket);
  host.AcceptAt(listener)->ExpectClosed();
  ck_assert_uint_eq(kernel.waiting(), 0);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  const auto server = host.AcceptAt(listener);
  ck_assert(server->Expect<wire::Hello>().uuid == kUuid);
  kernel.ExpectClosed();
}
END_TEST

START_TEST(another_volumes_server_is_not_woken) {
  Host host;
  {
    FakePeer registration(host.loop, host.socket);
    registration.Send(host.Registration());
    (void)registration.ExpectType(wire::kRegistered);
  }
  (void)host.loop.RunOnce(10);
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer kernel(host.loop, host.socket);
  auto need = NeedServer();
  need.uuid = {8};
  kernel.Send(need);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  while (std::chrono::steady_clock::now() < end) (void)host.loop.RunOnce(50);
  ck_assert_int_eq(AcceptUnix(listener.get()).error().code, EAGAIN);
}
END_TEST

START_TEST(garbage_ends_only_its_own_connection) {
  Host host;
  const std::byte garbage[64] = {std::byte{0xff}};
  FakePeer bad(host.loop, host.socket);
  bad.SendRaw(garbage);
  bad.ExpectClosed();
  FakePeer wrong(host.loop, host.socket);
  wrong.Send(wire::Hello{});  // right frame, wrong place
  wrong.ExpectClosed();
  FakePeer twice(host.loop, host.socket);
  twice.Send(NeedServer());
  twice.Send(NeedServer());
  twice.ExpectClosed();
  FakePeer good(host.loop, host.socket);
  good.Send(host.Registration());
  (void)good.ExpectType(wire::kRegistered);
}
END_TEST

START_TEST(a_kernel_may_go_while_it_waits) {
  Host host;
  {
    FakePeer kernel(host.loop, host.socket);
    kernel.Send(NeedServer());
    FakePeer asking(host.loop, host.socket);
    asking.Send(Identify());
    (void)host.loop.RunOnce(10);
    (void)host.loop.RunOnce(10);
  }
  const Fd listener = *ListenUnix(host.server_socket);
  FakePeer registration(host.loop, host.socket);
  registration.Send(host.Registration());
  (void)registration.ExpectType(wire::kRegistered);
  ck_assert_int_eq(AcceptUnix(listener.get()).error().code, EAGAIN);
}
END_TEST

UNIT_MAIN("agent", the_socket_is_roots_alone, identify_is_passed_on_and_back,
          identify_waits_for_a_server, identify_ends_with_a_reason,
          the_servers_socket_is_handed_over, a_failed_hand_over_lets_the_kernel_ask_again,
          another_volume_is_refused, a_registration_ends_with_its_connection,
          a_server_that_was_stopped_is_woken, another_volumes_server_is_not_woken,
          garbage_ends_only_its_own_connection, a_kernel_may_go_while_it_waits)
