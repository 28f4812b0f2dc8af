// SPDX-License-Identifier: GPL-2.0
// Makes a stream of a server's snapshots: what `delta send` and `delta transmit`
// share.
#ifndef DDSNAP_TOOLS_DELTA_SENDER_H_
#define DDSNAP_TOOLS_DELTA_SENDER_H_

#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.h"
#include "delta_options.h"
#include "progress.h"
#include "repl/byte_stream.h"
#include "repl/content_device.h"
#include "repl/receive_state.h"
#include "repl/stream_head.h"
#include "server_volume.h"

namespace ddsnap {

struct SendOptions {
  ModeOptions mode;
  std::string socket;
  std::optional<Tag> tag;
  std::optional<Tag> from;
  std::string resume;  // a token
  std::string device;  // of the target; empty: found, or made
  std::string from_device;
  uint64_t rate = 0;  // bytes a second; 0: no limit
  bool json = false;
};

// -r -x -b -z --from --resume --device --from-device --rate-limit --json, SOCK, TAG
void AddSendOptions(Arguments& args, SendOptions* options);

class DeltaSender {
 public:
  // Asks the server, and opens the devices.
  [[nodiscard]] static Result<DeltaSender> Prepare(const SendOptions& options);

  [[nodiscard]] const repl::StreamHead& head() const { return head_; }
  // Whether the stream says what the base holds: else it is as from a bookmark.
  [[nodiscard]] bool base_sums() const { return !bookmark_; }
  // To be told to people; empty: nothing.
  [[nodiscard]] const std::string& warning() const { return warning_; }
  // Where the token of the options, if there was one, says to begin, as far as it can be believed;
  // and below which byte there must be no differences.
  [[nodiscard]] uint64_t begin() const { return begin_; }
  [[nodiscard]] uint64_t limit() const { return limit_; }
  // Where a stream to a receiver begins that has a part of it, up to that byte, from whomever:
  // there, or at 0.  ESTALE if neither would make it the target.
  [[nodiscard]] Result<uint64_t> WhereToGoOn(uint64_t position) const;

  // Writes the stream from `begin` on; below `limit` without differences.
  [[nodiscard]] Result<repl::CreateSummary> Send(repl::ByteSink& out, uint64_t begin,
                                                 uint64_t limit, ProgressLine& line);

 private:
  explicit DeltaSender(const SendOptions& options) : options_(options) {}
  [[nodiscard]] Status Choose(ControlClient& client);
  [[nodiscard]] Status OpenDevices();
  [[nodiscard]] Status CheckBaseStays() const;

  SendOptions options_;
  repl::StreamHead head_;
  uint64_t begin_ = 0;
  uint64_t limit_ = 0;
  std::unique_ptr<repl::ScratchFile> changelist_;
  bool bookmark_ = false;  // the base has lost its content: none of it is read
  bool written_ = false;   // somebody wrote to the base
  std::string warning_;
  std::unique_ptr<repl::ContentDevice> from_;
  std::unique_ptr<repl::ContentDevice> to_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_DELTA_SENDER_H_
