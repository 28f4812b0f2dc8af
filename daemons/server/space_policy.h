// SPDX-License-Identifier: GPL-2.0
// Who gets the store's space, and who gives it up when there is none left.
//
// A grant that the store cannot fill waits for deletions that are under way,
// then for DROPPED of the snapshots that were given up for it, then gives up
// the next; nobody left to give up: DENIED.
#ifndef DDSNAP_SERVER_SPACE_POLICY_H_
#define DDSNAP_SERVER_SPACE_POLICY_H_

#include <cstdint>
#include <functional>
#include <set>

#include "base/chunk.h"
#include "base/status.h"
#include "fill_alarm.h"

namespace ddsnap::server {

class Server;

class SpacePolicy {
 public:
  explicit SpacePolicy(Server& server) : server_(server) {}

  // The kernel's GRANT_WANTED: answered by GRANT or DENIED, perhaps later.
  void Want(uint64_t chunks);

  // Tries again for a grant that waits.  `more_work`: background work is left
  // that may free space.
  void Advance(bool more_work);

  // Runs a staged call of the store that must succeed: while it returns ENOSPC,
  // gives up snapshots, frees and commits.
  [[nodiscard]] Status WithSpace(const std::function<Status()>& staged);

  // Gives up every snapshot that is still good.
  void GiveUpAll();

  // Says so in the journal when the store has become 80, 90 or 95 % full.
  void ReportFill();

  // The kernel no longer reads a snapshot.
  void OnDropped(Epoch snapshot);
  // A given-up snapshot is attached on a new link: it has to be dropped again.
  void OnAttachGivenUp(Epoch snapshot);
  // The link broke: what was asked and dropped is void.
  void OnLinkLost();
  // All devices of the link are known: who is not attached is not read.
  void OnLinkSettled();

  // A link of an earlier server goes on: DROPPED of `dropping` has not come, a
  // request for `wanted` chunks stands, and all its devices are known if it is `settled`.
  void Continue(const std::set<Epoch>& dropping, uint64_t wanted, bool settled);

  // True while a grant waits: background work is urgent.
  [[nodiscard]] bool waiting() const { return wanted_ != 0; }
  [[nodiscard]] uint64_t wanted() const { return wanted_; }
  [[nodiscard]] const std::set<Epoch>& dropping() const { return dropping_; }

 private:
  // False when there is no victim.
  [[nodiscard]] bool GiveUpOne();
  [[nodiscard]] Status GiveUp(Epoch victim);

  Server& server_;
  FillAlarm fill_;
  uint64_t wanted_ = 0;       // chunks; 0: no request stands
  std::set<Epoch> dropping_;  // DROP sent, DROPPED not there yet
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_SPACE_POLICY_H_
