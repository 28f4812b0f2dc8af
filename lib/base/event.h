// SPDX-License-Identifier: GPL-2.0
// What an administrator may want to act upon, under names and message ids that stay:
// `journalctl MESSAGE_ID=...`.  doc/events.md says what each means and what to do.
#ifndef DDSNAP_BASE_EVENT_H_
#define DDSNAP_BASE_EVENT_H_

#include <string>
#include <vector>

#include "base/log.h"

namespace ddsnap {

struct Event {
  const char* name;        // the journal's ZUMASTOR_EVENT
  const char* message_id;  // 128 bits in hexadecimal, as systemd.journal-fields(7)
};

inline constexpr Event kGivenUpEvent{"given-up", "fffc6ce10f164b1c8cf4814cb7e35b33"};
inline constexpr Event kStoreFillingEvent{"store-filling", "607d1f2bf54045a584e412649cd9809e"};
inline constexpr Event kStoreFullEvent{"store-full", "c07ef973f0ca4d25b8d7a2393a6ef585"};
inline constexpr Event kStoreFailedEvent{"store-failed", "b029dfedeaf443e4be3f65613f3e9208"};
inline constexpr Event kLinkWaitingEvent{"link-waiting", "9e0b6f1c2d7a4c64a5b3f5d0c8e14a7b"};
inline constexpr Event kHookFailedEvent{"hook-failed", "c325b38049574bcdac6bdef058ffa4e6"};
inline constexpr Event kJobFailedEvent{"job-failed", "a7cacd4e14bf4b30878954512ea6868c"};

// Log() with the event's fields before `fields`.
inline void LogEvent(int priority, const Event& event, const std::string& text,
                     const std::vector<LogField>& fields = {}) {
  std::vector<LogField> all = {{"ZUMASTOR_EVENT", event.name}, {"MESSAGE_ID", event.message_id}};
  all.insert(all.end(), fields.begin(), fields.end());
  Log(priority, text, all);
}

}  // namespace ddsnap

#endif  // DDSNAP_BASE_EVENT_H_
