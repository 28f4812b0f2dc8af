// SPDX-License-Identifier: GPL-2.0
// Any bytes, in any pieces, through the frame reader and every message; and as
// the JSON of a control request.  The first byte is the size of the pieces.
#include <algorithm>
#include <cstdlib>

#include "wire/frame.h"
#include "wire/json.h"

using namespace ddsnap::wire;

namespace {

// What comes in goes out again as the same frame, but for reserved fields.
template <typename M>
void RoundTrip(const Frame& frame) {
  if (frame.type != M::kType) return;
  const M first = Get<M>(frame);
  const M again = M::From(first.To());
  const auto a = first.To(), b = again.To();
  if (std::memcmp(&a, &b, sizeof a) != 0) std::abort();
}

void Decode(const Frame& frame) {
  RoundTrip<Identify>(frame);
  RoundTrip<Identified>(frame);
  RoundTrip<Refused>(frame);
  RoundTrip<NeedServer>(frame);
  RoundTrip<Hello>(frame);
  RoundTrip<Welcome>(frame);
  RoundTrip<Attach>(frame);
  RoundTrip<Detach>(frame);
  RoundTrip<Report>(frame);
  RoundTrip<Map>(frame);
  RoundTrip<MappedHead>(frame);
  RoundTrip<GrantWanted>(frame);
  RoundTrip<Grant>(frame);
  RoundTrip<Return>(frame);
  RoundTrip<Ready>(frame);
  RoundTrip<Dropped>(frame);
  RoundTrip<Attached>(frame);
  RoundTrip<Ack>(frame);
  RoundTrip<Resume>(frame);
  RoundTrip<Abandon>(frame);
  RoundTrip<Register>(frame);
  if (frame.type == Report::kType) (void)GetAll<Report>(frame);
  if (frame.type == kControlRequest) {
    auto request = ParseObject(frame.payload);
    if (!request) return;
    (void)GetNumber(*request, "tag", 0, ddsnap::kMaxTag);
    (void)GetText(*request, "verb");
    FrameWriter out;
    PutReply(out, *request);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = std::max<size_t>(data[0], 1);
  std::span<const std::byte> rest = std::as_bytes(std::span(data + 1, size - 1));
  FrameReader in;
  while (!rest.empty()) {
    const size_t n = std::min(piece, rest.size());
    in.Append(rest.first(n));
    rest = rest.subspan(n);
    for (;;) {
      auto frame = in.Next();
      if (!frame) return 0;
      if (!*frame) break;
      Decode(**frame);
    }
  }
  return 0;
}
