// SPDX-License-Identifier: GPL-2.0
#include "remote_link.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "host/command.h"

namespace ddsnap {
namespace {

// Hooks of the other side may take a minute or two before its first word.
constexpr unsigned kFirstAnswerSeconds = 600;
constexpr int kCannotRun = 127;  // as shells have it
constexpr auto kPatience = std::chrono::seconds(20);
constexpr size_t kMaxComplaint = 4096;  // of what is read; it comes last

[[noreturn]] void ExecSsh(const std::vector<std::string>& argv, int in, int out, int complaints) {
  (void)::dup2(in, STDIN_FILENO);
  (void)::dup2(out, STDOUT_FILENO);
  (void)::dup2(complaints, STDERR_FILENO);
  (void)::signal(SIGPIPE, SIG_DFL);
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  (void)::execvp(args[0], args.data());
  const char* why = std::strerror(errno);
  (void)!::write(STDERR_FILENO, why, std::strlen(why));
  ::_exit(kCannotRun);
}

}  // namespace

Result<std::unique_ptr<RemoteLink>> RemoteLink::Open(const std::string& host,
                                                     const std::vector<std::string>& command) {
  std::vector<std::string> argv = {"ssh",
                                   "-oBatchMode=yes",
                                   "-oConnectTimeout=30",
                                   "-oServerAliveInterval=15",
                                   "-oServerAliveCountMax=3",
                                   "-T",
                                   "--",
                                   host};
  argv.insert(argv.end(), command.begin(), command.end());
  // Two, for ssh tells the end of one direction by closing it, which of a socket that it has for
  // both nobody would see.
  int in[2], out[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0)
    return FailErrno(errno, "socketpair");
  Fd our_in(in[0]);
  const Fd their_out(in[1]);
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) != 0)
    return FailErrno(errno, "socketpair");
  Fd our_out(out[0]);
  const Fd their_in(out[1]);
  Fd complaints(::memfd_create("complaints", MFD_CLOEXEC));
  if (!complaints) return FailErrno(errno, "memfd_create");
  (void)::signal(SIGCHLD, SIG_DFL);  // or nobody could say how it ended
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "fork");
  if (child == 0) ExecSsh(argv, their_in.get(), their_out.get(), complaints.get());
  std::unique_ptr<RemoteLink> link(
      new RemoteLink(std::move(our_in), std::move(our_out), std::move(complaints), child, host));
  link->connection_.sink.LimitReads(kFirstAnswerSeconds);
  return link;
}

RemoteLink::~RemoteLink() { (void)Close(); }

int RemoteLink::Close() {
  if (child_ == 0) return status_;
  connection_.sink.Cut();
  const auto end = std::chrono::steady_clock::now() + kPatience;
  int status = 0;
  for (bool killed = false;;) {
    const pid_t ended = ::waitpid(child_, &status, killed ? 0 : WNOHANG);
    if (ended == child_ || (ended < 0 && errno != EINTR)) break;
    if (!killed && std::chrono::steady_clock::now() >= end) {
      (void)::kill(child_, SIGKILL);
      killed = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  child_ = 0;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

Error RemoteLink::Explain(const Error& error) {
  const int status = Close();
  std::string text(kMaxComplaint, '\0');
  const off_t size = ::lseek(complaints_.get(), 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
  const ssize_t n = ::pread(complaints_.get(), text.data(), text.size(), from);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::string why = LastLine(text);
  // It goes to a terminal, the journal and files of JSON.
  for (char& c : why)
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  if (!why.empty()) return {error.code, host_ + ": " + why};
  if (status == 0) return error;
  return {error.code, host_ + ": ended with status " + std::to_string(status)};
}

}  // namespace ddsnap
