// SPDX-License-Identifier: GPL-2.0
#include "volume_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace ddsnap {
namespace {

constexpr char kFolder[] = "/run/zumastor/lock";
constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kLookAgain = std::chrono::milliseconds(20);

std::string HolderOf(int fd) {
  char pid[24] = {};
  const ssize_t n = ::pread(fd, pid, sizeof pid - 1, 0);
  return n > 0 ? " (process " + std::string(pid, static_cast<size_t>(n)) + ")" : "";
}

}  // namespace

Result<CommandLock> CommandLock::OfConfiguration() {
  return Take("configuration", "the configuration");  // no volume's: those end in .volume
}

Result<CommandLock> CommandLock::OfVolume(const std::string& volume) {
  return Take(volume + ".volume", volume);
}

Result<CommandLock> CommandLock::Take(const std::string& file, const std::string& what) {
  for (const char* folder : {"/run/zumastor", kFolder})
    if (::mkdir(folder, 0755) != 0 && errno != EEXIST) return FailErrno(errno, folder);
  const std::string path = std::string(kFolder) + "/" + file;
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return FailErrno(errno, path);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return FailErrno(errno, path);
    if (std::chrono::steady_clock::now() >= end)
      return Fail(ETIMEDOUT, what + ": another command is still at work" + HolderOf(fd.get()));
    std::this_thread::sleep_for(kLookAgain);
  }
  const std::string pid = std::to_string(::getpid());
  (void)!::ftruncate(fd.get(), 0);
  (void)!::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return CommandLock(std::move(fd));
}

}  // namespace ddsnap
