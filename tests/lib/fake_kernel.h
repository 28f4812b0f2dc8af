// SPDX-License-Identifier: GPL-2.0
// The kernel's side of a link, as a test plays it.
#ifndef DDSNAP_TESTS_LIB_FAKE_KERNEL_H_
#define DDSNAP_TESTS_LIB_FAKE_KERNEL_H_

#include <vector>

#include "lib/fake_peer.h"

namespace ddsnap::test {

class FakeKernel : public FakePeer {
 public:
  using FakePeer::FakePeer;

  // HELLO and the WELCOME that must follow.
  wire::Welcome Greet(const Uuid& uuid, uint64_t origin_sectors, uint64_t store_sectors);
  // ATTACH; returns the error of ATTACHED.
  int Attach(Epoch snapshot);
  // GRANT_WANTED and the GRANT that must follow.
  std::vector<wire::Grant> GetGrant(uint64_t chunks);
  // One REPORT frame; numbers are counted here.
  void Report(std::vector<wire::Report> reports);
  // The ACK that must come, for everything reported so far; returns its epoch.
  Epoch ExpectAck();
  // One MAP and its answer; `head` may be null.
  std::vector<wire::MapRun> Map(Epoch snapshot, uint64_t chunk, uint32_t count,
                                wire::MappedHead* head = nullptr);
  // BARRIER must come; READY goes.  Returns its id.
  uint64_t BecomeQuiet();

  [[nodiscard]] uint64_t reported() const { return reported_; }

 private:
  uint64_t reported_ = 0;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_LIB_FAKE_KERNEL_H_
