// SPDX-License-Identifier: GPL-2.0
// A server in this process, over a store in memory, and peers for it.
#ifndef DDSNAP_TESTS_UNIT_SERVED_H_
#define DDSNAP_TESTS_UNIT_SERVED_H_

#include <memory>
#include <string>

#include "io/unix_socket.h"
#include "lib/fake_kernel.h"
#include "lib/memory_store.h"
#include "lib/temp_folder.h"
#include "server/server.h"

namespace ddsnap::test {

inline constexpr wire::VolumeDevices kDevices = {{8, 1}, {8, 2}};
inline constexpr uint64_t kOriginChunks = 1000;

class Served {
 public:
  explicit Served(uint64_t store_chunks = 100, uint64_t wait_ms = 20000)
      : store_chunks_(store_chunks) {
    auto memory = std::make_unique<MemoryStore>(kOriginChunks, store_chunks);
    store = memory.get();
    volume_ = server::Volume::TEST_Wrap(std::move(memory), kDevices, folder / "state");
    config_.agent = folder / "agent";
    config_.socket = folder / "server";
    config_.wait_ms = wait_ms;
    Start();
  }

  // ---- one server ends and another follows
  void Start(server::Handover left = {}) {
    server = std::make_unique<server::Server>(loop, *volume_, config_, *ListenUnix(config_.socket));
    server->TakeUp(std::move(left));
  }
  // What a server leaves that is asked to end now; through the bytes that the store would have.
  server::Handover End() {
    bool ended = false;
    server->TEST_OnEnd([&ended] { ended = true; });
    server->Shutdown();
    if (!RunUntil(loop, [&ended] { return ended; }) || !server->Finish()) std::abort();
    server::Handover left = server->Leave();
    server.reset();
    left.kept = *wire::DecodeKept(wire::EncodeKept(left.kept));
    return left;
  }

  // A linked kernel with an active origin.
  std::unique_ptr<FakeKernel> Link(bool attach_origin = true) {
    auto kernel = Unlinked();
    (void)kernel->Greet(store->uuid(), kOriginChunks * 8, store_chunks_);
    if (attach_origin && kernel->Attach(0) != 0) std::abort();
    return kernel;
  }
  std::unique_ptr<FakeKernel> Unlinked() {
    return std::make_unique<FakeKernel>(loop, folder / "server");
  }
  std::unique_ptr<FakePeer> Tool() { return std::make_unique<FakePeer>(loop, folder / "server"); }
  // Creates a snapshot with the kernel's help; returns its epoch.
  Epoch Create(FakeKernel& kernel, Tag tag) {
    const auto tool = Tool();
    tool->Request({{"verb", "create"}, {"tag", tag}});
    (void)kernel.BecomeQuiet();
    const Epoch epoch = kernel.Expect<wire::Resume>().epoch;
    if (tool->Reply().value("epoch", Epoch{0}) != epoch) std::abort();
    return epoch;
  }
  nlohmann::json Ask(const nlohmann::json& request) { return Tool()->Ask(request); }

  // Until the server has nothing left to do, in the background neither.
  void Settle() {
    while (loop.RunOnce(0)) {
    }
  }

  TempFolder folder;
  EventLoop loop = *EventLoop::New();
  MemoryStore* store = nullptr;

 private:
  uint64_t store_chunks_;
  server::Config config_;
  std::unique_ptr<server::Volume> volume_;

 public:
  std::unique_ptr<server::Server> server;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_UNIT_SERVED_H_
