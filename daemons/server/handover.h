// SPDX-License-Identifier: GPL-2.0
// From a server that ends in order to the one that follows it: connections and what is known of
// them, by way of the service manager's store of descriptors (doc/protocol.md, "A server and its
// successor").
//
// Invariant: a description in the store is true.  It is made of connections that nobody reads or
// writes any more (Channel::Leave), goes there last, and is emptied before anybody does again.
#ifndef DDSNAP_SERVER_HANDOVER_H_
#define DDSNAP_SERVER_HANDOVER_H_

#include <vector>

#include "io/fd_store.h"
#include "wire/kept.h"

namespace ddsnap::server {

struct Handover {
  wire::Kept kept;
  std::vector<Fd> fds;  // one for each of kept.connections
};

// Gives all to the service manager.  On an error the description may be there or not: nobody takes
// them up, or the successor does; what the store did not get ends with this process.
[[nodiscard]] Status Leave(const Handover& handover);

// What an earlier server has left.  A connection that is not there any more, because its peer hung
// up and the service manager dropped it, is left out, be it the kernel's or not.  Empty without a
// whole description: the connections are closed then.
[[nodiscard]] Handover TakeUp(NamedFds stored);

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_HANDOVER_H_
