// SPDX-License-Identifier: GPL-2.0
// Events on their way to the administrator's programs (/etc/zumastor/hooks.d/event).
//
// Who has something to say leaves a file in a folder in memory and goes on: a daemon
// below a block device starts no programs and waits for nobody, and a command does not
// hold its locks while a program runs.  zumastor-events.path sees the file, and
// zumastor-events.service runs the programs.
//
// Thread rule: any number of processes may put; one takes.
#ifndef DDSNAP_HOST_EVENT_QUEUE_H_
#define DDSNAP_HOST_EVENT_QUEUE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event.h"
#include "base/status.h"

namespace ddsnap {

// The environment of the hook: ZUMASTOR_VOLUME, ZUMASTOR_EVENT, ...
using EventEnvironment = std::vector<std::pair<std::string, std::string>>;

class EventQueue {
 public:
  // More than that many that nobody takes are not kept: the journal has them.
  static constexpr size_t kMaxWaiting = 256;

  explicit EventQueue(std::string folder) : folder_(std::move(folder)) {}
  // /run/zumastor/events
  [[nodiscard]] static EventQueue Default();

  // Makes the folder if need be.  ENOSPC when too many wait.
  [[nodiscard]] Status Put(const EventEnvironment& event) const;

  // The oldest, which is gone from the queue then: nothing is told twice, and what
  // cannot be told does not come back.  Nothing if none waits.
  [[nodiscard]] Result<std::optional<EventEnvironment>> Take() const;

 private:
  std::string folder_;
};

// An event of a volume: to the journal and, where a service manager runs hooks, to the queue.
// `volume` may be empty: its devices were made by hand, and no hook hears of them.
void ReportEvent(int priority, const Event& event, const std::string& volume,
                 const std::string& text, const std::vector<LogField>& fields = {});

}  // namespace ddsnap

#endif  // DDSNAP_HOST_EVENT_QUEUE_H_
