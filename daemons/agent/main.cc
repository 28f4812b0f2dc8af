// SPDX-License-Identifier: GPL-2.0
// ddsnap-agent: connects the kernel and the servers of this host.
#include <config.h>

#include <utility>

#include "agent.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "dm/dm.h"
#include "io/daemon.h"
#include "io/fd_store.h"
#include "io/unix_socket.h"

using namespace ddsnap;

namespace {

Status Connect(const wire::Device& dm_dev, int fd) {
  return dm::SendMessage({dm_dev.major, dm_dev.minor}, "connect " + std::to_string(fd));
}

Status Serve(bool foreground, const std::string& socket) {
  auto passed = TakePassedFds();
  auto daemon = Daemon::Start(foreground);
  if (!daemon) return Pass(daemon);
  ProtectBelowBlockDevice();
  auto loop = EventLoop::New();
  if (!loop) return Pass(loop);
  auto listener = ListenUnixOrPassed(socket, std::move(passed.listener));
  if (!listener) return Pass(listener);
  const agent::Agent agent(*loop, std::move(*listener), Connect);
  if (Status s = loop->OnTermination([&loop] { loop->Exit(); }); !s) return s;
  loop->EnableWatchdog();
  daemon->Ready();
  LogSetup("ddsnap-agent", foreground);
  return loop->Run();
}

}  // namespace

int main(int argc, char** argv) {
  bool foreground = false;
  std::string socket;
  CommandLine line("ddsnap-agent", "Connects the kernel and the ddsnap servers of this host");
  Arguments& args = line.arguments();
  args.AddFlag("-f,--foreground", &foreground, "stay in the foreground");
  args.Add("AGENT_SOCK", &socket, "socket to listen on").Required();
  if (const auto done = line.Parse(PACKAGE_VERSION, argc, argv)) return *done;
  LogSetup("ddsnap-agent", true);
  if (const Status s = Serve(foreground, socket); !s) {
    Log(LOG_ERR, s.error().text);
    return 1;
  }
  return 0;
}
