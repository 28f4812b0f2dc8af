// SPDX-License-Identifier: GPL-2.0
// ddsnap-server: serves one snapshot store.
#include <config.h>
#include <signal.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "handover.h"
#include "io/daemon.h"
#include "io/fd_store.h"
#include "io/unix_socket.h"
#include "options.h"
#include "server.h"

using namespace ddsnap;

namespace {

// Device names may have changed hands since the volume was defined.
Status CheckIdentity(const server::Config& config, const SnapStore& store) {
  if (!config.expected_uuid || *config.expected_uuid == store.uuid()) return {};
  return Fail(ESTALE, config.paths.store + ": is the store of volume " + FormatUuid(store.uuid()) +
                          ", not of " + FormatUuid(*config.expected_uuid));
}

// From the first moment on: a termination that comes while the server starts must not end it, with
// what it has just taken over from the one before.  It is delivered to the loop once that runs.
// The server starts no other process.
void HoldTermination() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
}

Status Serve(const server::Options& options) {
  HoldTermination();
  auto passed = TakePassedFds();
  auto left = server::TakeUp(std::move(passed.stored));
  auto daemon = Daemon::Start(options.foreground);
  if (!daemon) return Pass(daemon);
  ProtectBelowBlockDevice();
  auto loop = EventLoop::New();
  if (!loop) return Pass(loop);
  // The lock comes first: the socket of a second server must not replace ours.
  auto volume = server::Volume::Open(options.config.paths, options.config.cache_bytes);
  if (!volume) return Pass(volume);
  if (Status s = CheckIdentity(options.config, (*volume)->store()); !s) return s;
  auto listener = ListenUnixOrPassed(options.config.socket, std::move(passed.listener));
  if (!listener) return Pass(listener);
  server::Server server(*loop, **volume, options.config, std::move(*listener));
  if (Status s = loop->OnTermination([&server] { server.Shutdown(); }); !s) return s;
  server.TakeUp(std::move(left));
  loop->EnableWatchdog();
  daemon->Ready();
  LogSetup("ddsnap-server", options.foreground);
  if (Status s = loop->Run(); !s) return s;
  if (Status s = server.Finish(); !s) return s;
  const Status s = server::Leave(server.Leave());
  if (!s && s.error().code != ENOTSUP) Log(LOG_WARNING, s.error().text);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  LogSetup("ddsnap-server", true);
  auto options = server::ParseOptions(argc, argv, PACKAGE_VERSION);
  if (!options) return options.error();
  if (const Status s = Serve(*options); !s) {
    Log(LOG_ERR, s.error().text);
    return 1;
  }
  return 0;
}
