// SPDX-License-Identifier: GPL-2.0
#include "host/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"

namespace ddsnap {
namespace {

constexpr size_t kMaxOutput = 64 * 1024;
constexpr int kCannotRun = 127;  // as shells have it

using Clock = std::chrono::steady_clock;

[[noreturn]] void ExecInChild(const std::vector<std::string>& argv, const CommandOptions& options,
                              int output) {
  (void)::setpgid(0, 0);
  const int null = ::open("/dev/null", O_RDONLY);
  if (null >= 0) (void)::dup2(null, STDIN_FILENO);
  (void)::dup2(output, STDOUT_FILENO);
  (void)::dup2(output, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  (void)::unsetenv("NOTIFY_SOCKET");  // it is we who tell the service manager
  for (const auto& [name, value] : options.environment)
    (void)::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  (void)::execvp(args[0], args.data());
  const char* why = std::strerror(errno);
  (void)!::write(STDERR_FILENO, why, std::strlen(why));
  ::_exit(kCannotRun);
}

// Milliseconds that poll may wait; -1 for ever.
int Remaining(const CommandOptions& options, Clock::time_point start) {
  if (options.timeout_ms == 0) return -1;
  const auto gone =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  const auto left = static_cast<int64_t>(options.timeout_ms) - gone;
  return left > 0 ? static_cast<int>(left) : 0;
}

// Until the program, and whoever inherited its outputs, has closed them; false
// when the time is up.
bool Drain(int fd, const CommandOptions& options, Clock::time_point start, std::string* output) {
  for (;;) {
    pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
    const int n = ::poll(&ready, 1, Remaining(options, start));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    const size_t room = kMaxOutput - output->size();
    output->append(buffer, std::min(room, static_cast<size_t>(got)));
  }
}

int WaitFor(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<CommandResult> RunCommand(const std::vector<std::string>& argv,
                                 const CommandOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const auto start = Clock::now();
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "fork");
  if (child == 0) ExecInChild(argv, options, write_end.get());
  write_end.Reset();
  CommandResult result;
  if (!Drain(read_end.get(), options, start, &result.output)) {
    (void)::kill(-child, SIGKILL);
    (void)::kill(child, SIGKILL);  // before it had a group
    (void)WaitFor(child);
    return Fail(ETIMEDOUT, argv[0] + ": killed, it took longer than " +
                               std::to_string(options.timeout_ms / 1000) + " s");
  }
  result.status = WaitFor(child);
  return result;
}

Status RunCommandOk(const std::vector<std::string>& argv, const CommandOptions& options) {
  auto result = RunCommand(argv, options);
  if (!result) return Pass(result);
  if (result->status == 0) return {};
  const std::string why = LastLine(result->output);
  return Fail(EIO, argv[0] + ": " +
                       (why.empty() ? "exit status " + std::to_string(result->status) : why));
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  const size_t newline = text.rfind('\n', end);
  const size_t begin = newline == std::string::npos ? 0 : newline + 1;
  return text.substr(begin, end + 1 - begin);
}

}  // namespace ddsnap
