// SPDX-License-Identifier: GPL-2.0
// A zumastor command on another host, as a connection.
#ifndef DDSNAP_TOOLS_ZUMASTOR_REMOTE_LINK_H_
#define DDSNAP_TOOLS_ZUMASTOR_REMOTE_LINK_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "../transmitting.h"
#include "base/status.h"

namespace ddsnap {

// ssh(1) that runs a command.  It asks for nothing (BatchMode), and gives up a host that is
// silent for 45 seconds; all else is ssh_config(5)'s.
class RemoteLink {
 public:
  // Starts it; whether the host can be reached is seen by whoever reads.  `command`: words that
  // need no quoting.
  [[nodiscard]] static Result<std::unique_ptr<RemoteLink>> Open(
      const std::string& host, const std::vector<std::string>& command);
  // Ends ssh.
  ~RemoteLink();
  RemoteLink(const RemoteLink&) = delete;
  RemoteLink& operator=(const RemoteLink&) = delete;

  [[nodiscard]] Connection& connection() { return connection_; }
  // After the connection has ended: what ssh or the command complained of, or an error that it
  // exited with; else `error`.
  [[nodiscard]] Error Explain(const Error& error);
  // Closes our side, and waits until it has ended.  Its exit status; 255 is ssh's own.
  [[nodiscard]] int Close();

 private:
  RemoteLink(Fd in, Fd out, Fd complaints, pid_t child, const std::string& host)
      : connection_(std::move(in), std::move(out), host),
        complaints_(std::move(complaints)),
        child_(child),
        host_(host) {}

  Connection connection_;
  Fd complaints_;  // a file without a name
  pid_t child_;    // 0: has been waited for
  int status_ = 0;
  std::string host_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_REMOTE_LINK_H_
