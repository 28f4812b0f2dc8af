// SPDX-License-Identifier: GPL-2.0
// What is done with each extent of a delta that is read: its payload is
// checked, the device compared with base and target, the content decoded.
//
// Thread rule: ExtentWork may be used by any number of threads at once, each
// slot by one.
#ifndef DDSNAP_REPL_EXTENT_WORK_H_
#define DDSNAP_REPL_EXTENT_WORK_H_

#include <span>
#include <string>

#include "base/status.h"
#include "repl/aligned_bytes.h"
#include "repl/content_device.h"
#include "repl/delta_stream.h"
#include "repl/extent_codec.h"

namespace ddsnap::repl {

struct ExtentSlot {
  Extent extent;
  Record record;         // holds the payload
  AlignedBytes current;  // what the device holds
  AlignedBytes decoded;
  ExtentDecoder decoder;
  bool already = false;                // the device holds the target's content
  bool is_base = false;                // it holds the base's; never set where there is none
  std::span<const std::byte> content;  // after Decode
};

class ExtentWork {
 public:
  // `delta`: its name, for messages.
  ExtentWork(const DeltaHead& head, const std::string& delta) : head_(head), delta_(delta) {}

  // EBADMSG if the payload does not have its sum.
  [[nodiscard]] Status CheckPayload(const ExtentSlot& slot) const;
  // Reads what the device holds; sets `already` and `is_base`.  Past the end of
  // the base anything may be there.
  [[nodiscard]] Status Compare(ExtentSlot& slot, const ContentDevice& device) const;
  // The error for a device that holds neither: ESTALE.
  [[nodiscard]] std::unexpected<Error> NotTheBase(const Extent& extent,
                                                  const ContentDevice& device) const;
  // Makes the content of a good payload; for a difference, from slot.current,
  // which holds the base.
  [[nodiscard]] Status Decode(ExtentSlot& slot) const;

 private:
  const DeltaHead& head_;
  const std::string& delta_;
};

// ENOSPC if the device is smaller than the target of the delta called `delta`.
[[nodiscard]] Status CheckRoom(const ContentDevice& device, const DeltaHead& head,
                               const std::string& delta);

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_EXTENT_WORK_H_
