// SPDX-License-Identifier: GPL-2.0
// Any bytes as a changelist.  Sums would stop nearly every input at once, so
// the first byte decides whether they are made right first; then what comes
// out is written again and must come out the same.
#include "record_repair.h"
#include "repl/changelist.h"
#include "repl/create_delta.h"

using namespace ddsnap;
using namespace ddsnap::repl;

namespace {

// The plan of a delta must stay inside the target, in order, whatever the list says.
void CheckPlan(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  auto list = ChangelistReader::Open(source);
  if (!list) return;
  ExtentPlan plan(*list);
  const uint64_t target = list->head().target.size;
  uint64_t end = 0;
  Extent extent;
  for (int i = 0; i < 10000; ++i) {
    auto more = plan.Next(&extent);
    if (!more || !*more) return;
    if (extent.offset < end || extent.length == 0 || extent.length > kMaxExtent ||
        extent.offset >= target || extent.length > target - extent.offset ||
        extent.base_length > extent.length) {
      std::abort();
    }
    end = extent.offset + extent.length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::byte> bytes = fuzz::Prepare(data, size);
  MemorySource source(bytes);
  auto list = ChangelistReader::Open(source);
  if (!list) return 0;
  MemorySink again;
  ChangelistWriter writer(again, list->head());
  for (;;) {
    auto range = list->Next();
    if (!range) return 0;
    if (!*range) break;
    if (!writer.Add(**range)) std::abort();
  }
  if (!writer.Finish()) std::abort();
  if (writer.ranges() != list->ranges() || writer.chunks() != list->chunks()) std::abort();
  CheckPlan(bytes);
  CheckPlan(again.bytes());
  MemorySource totals(bytes);
  if (!CheckChangelist(totals)) std::abort();
  return 0;
}
