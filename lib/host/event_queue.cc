// SPDX-License-Identifier: GPL-2.0
#include "host/event_queue.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/fd.h"

namespace ddsnap {
namespace {

namespace fs = std::filesystem;

// Names sort by time.  A name with a dot in front is not complete yet: neither we nor the
// service manager's path unit look at those.
std::string NewName() {
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  char name[64];
  std::snprintf(name, sizeof name, "%012lld.%09ld-%d", static_cast<long long>(now.tv_sec),
                now.tv_nsec, static_cast<int>(::getpid()));
  return name;
}

// A line for each; what comes from elsewhere must not make lines of its own.
std::string Format(const EventEnvironment& event) {
  std::string text;
  for (const auto& [name, value] : event) {
    std::string line = name + "=" + value;
    std::ranges::replace(line, '\n', ' ');
    std::ranges::replace(line, '\0', ' ');
    text += line + "\n";
  }
  return text;
}

std::vector<fs::path> Complete(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (!entry.path().filename().string().starts_with(".")) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

}  // namespace

EventQueue EventQueue::Default() { return EventQueue("/run/zumastor/events"); }

Status EventQueue::Put(const EventEnvironment& event) const {
  if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno(errno, folder_);
  if (Complete(folder_).size() >= kMaxWaiting)
    return Fail(ENOSPC, folder_ + ": too many events wait");
  const std::string name = NewName();
  const std::string part = folder_ + "/." + name, path = folder_ + "/" + name;
  const std::string text = Format(event);
  const Fd fd(::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return FailErrno(errno, part);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(part.c_str(), path.c_str()) != 0) {
    const int error = errno;
    (void)::unlink(part.c_str());
    return FailErrno(error, path);
  }
  return {};
}

Result<std::optional<EventEnvironment>> EventQueue::Take() const {
  const auto files = Complete(folder_);
  if (files.empty()) return std::nullopt;
  EventEnvironment event;
  std::ifstream in(files.front());
  for (std::string line; std::getline(in, line);)
    if (const size_t at = line.find('='); at != std::string::npos && line.starts_with("ZUMASTOR_"))
      event.emplace_back(line.substr(0, at), line.substr(at + 1));
  std::error_code error;
  fs::remove_all(files.front(), error);
  if (error) return Fail(error.value(), files.front().string() + ": " + error.message());
  return event;
}

void ReportEvent(int priority, const Event& event, const std::string& volume,
                 const std::string& text, const std::vector<LogField>& fields) {
  std::vector<LogField> all = {{"ZUMASTOR_VOLUME", volume}};
  if (volume.empty()) all.clear();
  all.insert(all.end(), fields.begin(), fields.end());
  LogEvent(priority, event, volume.empty() ? text : volume + ": " + text, all);
  if (volume.empty() || ::access("/run/systemd/system", F_OK) != 0) return;
  EventEnvironment environment = {{"ZUMASTOR_EVENT", event.name}, {"ZUMASTOR_TEXT", text}};
  for (const LogField& field : all) environment.emplace_back(field.name, field.value);
  if (Status s = EventQueue::Default().Put(environment); !s)
    Log(LOG_WARNING, "no hook hears of it: " + s.error().text);
}

}  // namespace ddsnap
