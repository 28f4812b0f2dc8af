// SPDX-License-Identifier: GPL-2.0
// The device that streams are received on, its receive state, and the downstream
// snapshots around a receive: what `delta receive` and `delta listen` share.
#ifndef DDSNAP_TOOLS_DELTA_RECEIVER_H_
#define DDSNAP_TOOLS_DELTA_RECEIVER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.h"
#include "progress.h"
#include "repl/receive_delta.h"
#include "server_volume.h"

namespace ddsnap {

struct ReceiverOptions {
  std::string device;
  std::string state;       // file; empty: in /var/lib/zumastor/receive
  std::string server;      // downstream; empty: zumastor's, if the device is one of its volumes
  std::optional<Tag> tag;  // of the target, downstream
  bool no_snapshot = false;
  bool zeroed = false;
  bool json = false;
};

// --state --server --tag --no-snapshot --zeroed --json, DEVICE
void AddReceiverOptions(Arguments& args, ReceiverOptions* options);

// Two snapshots of one second would have one folder.
void AwaitNextSecond(const repl::SnapshotId& newest);

class DeltaReceiver {
 public:
  // Finds the server and the state; the device is not opened yet.
  [[nodiscard]] static Result<DeltaReceiver> Find(const ReceiverOptions& options);
  // Takes the device for this process alone.  EBUSY says who uses it.
  [[nodiscard]] Status Open();

  [[nodiscard]] Result<repl::ReceiveSummary> Receive(
      repl::ByteSource& stream, ProgressLine& line,
      std::function<Status(uint64_t)> acknowledged = {});

  [[nodiscard]] repl::FileReceiveLog& log() { return log_; }
  // After Open.
  [[nodiscard]] const repl::ContentDevice& device() const { return *device_; }

 private:
  DeltaReceiver(ReceiverOptions options, std::string path)
      : options_(std::move(options)), log_(std::move(path)) {}
  [[nodiscard]] Result<std::optional<repl::LocalSnapshot>> SnapshotOfState(
      ControlClient& client, const ServerVolume& volume, bool full);
  [[nodiscard]] Result<std::optional<repl::LocalSnapshot>> SnapshotBefore(
      const repl::DeltaHead& head);
  [[nodiscard]] Result<std::optional<repl::LocalSnapshot>> SnapshotAfter(
      const repl::DeltaHead& head);
  [[nodiscard]] Result<bool> SameAs(const repl::LocalSnapshot& local, uint64_t from) const;

  ReceiverOptions options_;
  repl::FileReceiveLog log_;
  std::unique_ptr<repl::ContentDevice> device_;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_DELTA_RECEIVER_H_
