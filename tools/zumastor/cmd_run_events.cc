// SPDX-License-Identifier: GPL-2.0
// zumastor run-events: for zumastor-events.service
#include "commands.h"
#include "hooks.h"
#include "host/event_queue.h"

namespace ddsnap {
namespace {

// A hook that fails is told to the journal alone: it must not run again for that.
Result<int> Run() {
  const EventQueue queue = EventQueue::Default();
  for (;;) {
    auto event = queue.Take();
    if (!event) return Pass(event);
    if (!*event) return 0;
    for (const Error& failed : RunHooks("event", **event))
      LogEvent(LOG_WARNING, kHookFailedEvent, failed.text);
  }
}

}  // namespace

const Command kRunEvents = {.name = "run-events",
                            .aliases = {},
                            .help = "run the hook for events that wait",
                            .declare = [](Arguments&) -> Action { return Run; },
                            .internal = true};

}  // namespace ddsnap
