// SPDX-License-Identifier: GPL-2.0
// When to say that a store fills up.
#ifndef DDSNAP_SERVER_FILL_ALARM_H_
#define DDSNAP_SERVER_FILL_ALARM_H_

#include <cstdint>
#include <optional>

namespace ddsnap::server {

// Says each level once while the store fills, and again only after it has fallen
// well below: a store that stays near a level must not fill the journal instead.
class FillAlarm {
 public:
  static constexpr uint64_t kSlack = 2;  // percent

  // The level in percent, 80, 90 or 95, that has just been reached.
  [[nodiscard]] std::optional<unsigned> Update(uint64_t total, uint64_t used) {
    if (total == 0) return std::nullopt;
    const uint64_t percent = used * 100 / total;
    unsigned reached = 0;
    for (const unsigned level : {80U, 90U, 95U})
      if (percent >= level || (said_ >= level && percent + kSlack >= level)) reached = level;
    const bool higher = reached > said_;
    said_ = reached;
    return higher ? std::optional(reached) : std::nullopt;
  }

 private:
  unsigned said_ = 0;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_FILL_ALARM_H_
