// SPDX-License-Identifier: GPL-2.0
// What `zumastor receive` may be sent when it has told its status, by its first eight bytes: a
// delta, or one of these.  doc/delta-format.md, "Over ssh".
#ifndef DDSNAP_TOOLS_ZUMASTOR_RECEIVE_REQUEST_H_
#define DDSNAP_TOOLS_ZUMASTOR_RECEIVE_REQUEST_H_

#include <array>

namespace ddsnap {

using ReceiveRequest = std::array<char, 8>;

// Go back to what was there before the stream that was cut off.
inline constexpr ReceiveRequest kGoBackRequest = {'d', 'd', 'g', 'o', 'b', 'c', 'k', 0x1a};

// Tell by sums what is there: how the records of doc/delta-format.md, "Comparing", begin.
inline constexpr ReceiveRequest kVerifyRequest = {'d', 'd', 'v', 'e', 'r', 'f', 'y', 0x1a};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_RECEIVE_REQUEST_H_
