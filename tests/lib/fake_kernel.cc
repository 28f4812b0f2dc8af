// SPDX-License-Identifier: GPL-2.0
#include "lib/fake_kernel.h"

#include <cstdio>
#include <cstdlib>

namespace ddsnap::test {

wire::Welcome FakeKernel::Greet(const Uuid& uuid, uint64_t origin_sectors, uint64_t store_sectors) {
  Send(wire::Hello{.uuid = uuid, .origin_sectors = origin_sectors, .store_sectors = store_sectors});
  return Expect<wire::Welcome>();
}

int FakeKernel::Attach(Epoch snapshot) {
  Send(wire::Attach{snapshot});
  return Expect<wire::Attached>().error;
}

std::vector<wire::Grant> FakeKernel::GetGrant(uint64_t chunks) {
  Send(wire::GrantWanted{chunks});
  return wire::GetAll<wire::Grant>(ExpectType(wire::Grant::kType).view());
}

void FakeKernel::Report(std::vector<wire::Report> reports) {
  wire::FrameWriter out;
  wire::PutAll<wire::Report>(out, reports, reported_ + 1);
  reported_ += reports.size();
  Send(out);
}

Epoch FakeKernel::ExpectAck() {
  for (;;) {
    const auto ack = Expect<wire::Ack>();
    if (ack.through == reported_) return ack.epoch;
    if (ack.through > reported_) {
      std::fprintf(stderr, "fake kernel: ACK of what was never reported\n");
      std::abort();
    }
  }
}

std::vector<wire::MapRun> FakeKernel::Map(Epoch snapshot, uint64_t chunk, uint32_t count,
                                          wire::MappedHead* head) {
  const wire::Map request{.id = chunk + 1, .snapshot = snapshot, .chunk = chunk, .count = count};
  wire::FrameWriter out;
  wire::PutAll<wire::Map>(out, std::span(&request, 1));
  Send(out);
  const OwnedFrame frame = ExpectType(wire::MappedHead::kType);
  if (head != nullptr) *head = wire::Get<wire::MappedHead>(frame.view());
  return wire::GetAll<wire::MapRun>(frame.view(), sizeof(ddsnap_mapped));
}

uint64_t FakeKernel::BecomeQuiet() {
  const uint64_t id = Expect<wire::Barrier>().value;
  Send(wire::Ready{id});
  return id;
}

}  // namespace ddsnap::test
