// SPDX-License-Identifier: GPL-2.0
#include "volume_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "volume/unit_name.h"

namespace ddsnap {
namespace {

constexpr char kFolder[] = "/run/zumastor/lock";
constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kEndingPatience = std::chrono::seconds(10);
// For who has only looked whether somebody holds it.
constexpr auto kGlance = std::chrono::milliseconds(300);
constexpr auto kLookAgain = std::chrono::milliseconds(20);

// Who holds the lock has written it there.
pid_t PidIn(int fd) {
  char text[24] = {};
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  pid_t pid = 0;
  if (n > 0) std::from_chars(text, text + n, pid);
  return pid;
}

std::string Describe(pid_t holder) {
  return holder > 0 ? " (process " + std::to_string(holder) + ")" : "";
}

std::string FileOfTarget(const std::string& volume, const std::string& target) {
  return volume + ".target-" + EscapeUnitPath(target);
}

// Ends who holds a lock, once.  The file has an older process's number until a new holder has
// written its own, and while somebody only looks: so it must have stood there for a while.
class HolderEnder {
 public:
  void Saw(pid_t holder) {
    const auto now = std::chrono::steady_clock::now();
    if (holder != seen_) {
      seen_ = holder;
      since_ = now;
      ended_ = false;
    }
    if (ended_ || holder <= 1 || now - since_ < kGlance) return;
    (void)::kill(holder, SIGTERM);
    ended_ = true;
  }

 private:
  pid_t seen_ = 0;
  std::chrono::steady_clock::time_point since_;
  bool ended_ = false;
};

}  // namespace

Result<CommandLock> CommandLock::OfConfiguration() {
  // No volume's: those have a dot and a word behind the name.
  return Take("configuration", "the configuration", IfHeld::kWait);
}

Result<CommandLock> CommandLock::OfConfigurationIfFree() {
  return Take("configuration", "the configuration", IfHeld::kRefuse);
}

Result<CommandLock> CommandLock::OfVolume(const std::string& volume) {
  return Take(volume + ".volume", volume, IfHeld::kWait);
}

Result<CommandLock> CommandLock::OfTarget(const std::string& volume, const std::string& target) {
  return Take(FileOfTarget(volume, target), volume + ": " + target, IfHeld::kRefuse);
}

Result<CommandLock> CommandLock::OfFetchingTarget(const std::string& volume,
                                                  const std::string& target) {
  return Take(FileOfTarget(volume, target), volume + ": " + target, IfHeld::kEndHolder);
}

Result<CommandLock> CommandLock::OfReceiving(const std::string& volume) {
  return Take(volume + ".receiving", volume, IfHeld::kEndHolder);
}

std::optional<pid_t> CommandLock::HolderOfTarget(const std::string& volume,
                                                 const std::string& target) {
  return HolderOf(FileOfTarget(volume, target));
}

bool CommandLock::IsReceiving(const std::string& volume) {
  return HolderOf(volume + ".receiving").has_value();
}

void CommandLock::EndReplication(const std::string& volume,
                                 const std::vector<std::string>& targets) {
  for (const std::string& target : targets) {
    EndHolder(FileOfTarget(volume, target));
    if (target.empty()) EndHolder(volume + ".receiving");
  }
}

// Returns when it has let go, or does not in ten seconds.
void CommandLock::EndHolder(const std::string& file) {
  const auto end = std::chrono::steady_clock::now() + kEndingPatience;
  HolderEnder ender;
  while (auto holder = HolderOf(file)) {
    ender.Saw(*holder);
    if (std::chrono::steady_clock::now() >= end) return;
    std::this_thread::sleep_for(kLookAgain);
  }
}

std::optional<pid_t> CommandLock::HolderOf(const std::string& file) {
  const std::string path = std::string(kFolder) + "/" + file;
  const Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return std::nullopt;
  return PidIn(fd.get());
}

Result<CommandLock> CommandLock::Take(const std::string& file, const std::string& what,
                                      IfHeld if_held) {
  for (const char* folder : {"/run/zumastor", kFolder})
    if (::mkdir(folder, 0755) != 0 && errno != EEXIST) return FailErrno(errno, folder);
  const std::string path = std::string(kFolder) + "/" + file;
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return FailErrno(errno, path);
  const auto end = std::chrono::steady_clock::now() +
                   (if_held == IfHeld::kRefuse ? kGlance : std::chrono::milliseconds(kPatience));
  HolderEnder ender;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return FailErrno(errno, path);
    const pid_t holder = PidIn(fd.get());
    if (if_held == IfHeld::kEndHolder) ender.Saw(holder);
    if (std::chrono::steady_clock::now() >= end)
      return Fail(if_held == IfHeld::kRefuse ? EBUSY : ETIMEDOUT,
                  what + ": another command is still at work" + Describe(holder));
    std::this_thread::sleep_for(kLookAgain);
  }
  const std::string pid = std::to_string(::getpid());
  (void)!::ftruncate(fd.get(), 0);
  (void)!::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return CommandLock(std::move(fd));
}

}  // namespace ddsnap
