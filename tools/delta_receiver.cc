// SPDX-License-Identifier: GPL-2.0
#include "delta_receiver.h"

#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <thread>

#include "base/uuid.h"
#include "cli/options.h"
#include "control_verb.h"
#include "host/device_names.h"
#include "host/mounts.h"
#include "server_volume.h"
#include "snapshot_device.h"
#include "volume/volume_config.h"

namespace ddsnap {
namespace {

constexpr std::string_view kZumastor = "zumastor-";

// The volume's server, where the device says which it is.
Result<std::string> FindServer(const ReceiverOptions& options) {
  if (!options.server.empty()) return options.server;
  const DownstreamDevice found = LookUp(options.device);
  if (found.snapshot) {
    return Fail(EINVAL, options.device + ": is a snapshot; a stream is received on the origin");
  }
  if (!found.origin) return std::string();
  if (found.dm_name.starts_with(kZumastor)) {
    return ServerSocket(found.dm_name.substr(kZumastor.size()));
  }
  if (options.no_snapshot) return std::string();
  return Fail(EINVAL, options.device +
                          ": is a ddsnap origin: name its server with --server SOCK, "
                          "so that what it holds now is kept in a snapshot, or say --no-snapshot");
}

// Names the device in the file of its state: it is the same after a reboot.
Result<std::string> KeyOf(const ReceiverOptions& options) {
  if (!options.server.empty()) {
    auto client = ControlClient::Connect(options.server);
    if (!client) return Pass(client);
    auto volume = ServerVolume::Ask(*client);
    if (!volume) return Pass(volume);
    return "volume-" + FormatUuid(volume->uuid);
  }
  std::error_code error;
  const auto full = std::filesystem::absolute(options.device, error);
  return StableName(error ? options.device : full.lexically_normal().string());
}

// Not another one, to which the tag was given later.
std::optional<repl::SnapshotId> FindLocal(const ServerVolume& volume,
                                          const repl::LocalSnapshot& local) {
  auto snapshot = volume.WithTag(local.tag);
  if (!snapshot || (local.epoch != 0 && snapshot->epoch != local.epoch)) return std::nullopt;
  return *snapshot;
}

std::unexpected<Error> Gone(const std::string& device, const repl::LocalSnapshot& local) {
  return Fail(ESTALE,
              device + ": snapshot " + std::to_string(local.tag) +
                  " of it is gone, which said what it holds: --forget, and send everything");
}

Result<std::optional<repl::LocalSnapshot>> Create(ControlClient& client, Tag tag) {
  auto made = client.Call({{"verb", "create"}, {"tag", tag}});
  if (!made) return Pass(made);
  auto epoch = Field<Epoch>(*made, "epoch");
  if (!epoch) return Pass(epoch);
  return repl::LocalSnapshot(tag, *epoch);
}

}  // namespace

void AwaitNextSecond(const repl::SnapshotId& newest) {
  while (::time(nullptr) == newest.created_ns / 1'000'000'000)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void AddReceiverOptions(Arguments& args, ReceiverOptions* options) {
  args.Add("--state", &options->state,
           "file of what was received so far (default: one in /var/lib/zumastor/receive)")
      .TypeName("FILE");
  args.Add("--server", &options->server, "socket of the server whose origin DEVICE is")
      .TypeName("SOCK");
  AddTag(args, "--tag", &options->tag,
         "tag of the snapshot that is made when all is there (default: as upstream)")
      .TypeName("TAG");
  args.AddFlag("--no-snapshot", &options->no_snapshot, "make no snapshots before and after");
  args.AddFlag("--zeroed", &options->zeroed, "DEVICE holds nothing but zeroes");
  AddJson(args, &options->json);
  args.Add("DEVICE", &options->device, "device that holds the stream's base").Required();
}

Result<DeltaReceiver> DeltaReceiver::Find(const ReceiverOptions& options) {
  ReceiverOptions found = options;
  auto server = FindServer(options);
  if (!server) return Pass(server);
  found.server = *server;
  std::string path = options.state;
  if (path.empty()) {
    auto key = KeyOf(found);
    if (!key) return Pass(key);
    path = repl::FileReceiveLog::DefaultPath(*key);
  }
  return DeltaReceiver(std::move(found), std::move(path));
}

Status DeltaReceiver::Open() {
  auto use = DescribeUse(options_.device);
  if (use && !use->empty()) {
    return Fail(EBUSY, options_.device + ": " + *use + ": nobody else may use it meanwhile");
  }
  auto device = repl::ContentDevice::OpenToChange(options_.device);
  if (!device) return Pass(device);
  device_ = std::move(*device);
  return {};
}

Result<repl::ReceiveSummary> DeltaReceiver::Receive(repl::ByteSource& stream, ProgressLine& line,
                                                    std::function<Status(uint64_t)> acknowledged) {
  repl::ReceiveOptions receive;
  receive.zeroed = options_.zeroed;
  receive.acknowledged = std::move(acknowledged);
  receive.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  if (!options_.server.empty() && !options_.no_snapshot) {
    receive.before = [this](const repl::DeltaHead& head) { return SnapshotBefore(head); };
    receive.completed = [this](const repl::DeltaHead& head) { return SnapshotAfter(head); };
    if (IsOriginOf(options_.server, options_.device)) {
      receive.same_as = [this](const repl::LocalSnapshot& snapshot, uint64_t from) {
        return SameAs(snapshot, from);
      };
    }
  }
  return ReceiveDelta(stream, *device_, log_, receive);
}

// The snapshot of what the state says that the origin is, if it is that still: of what came last
// or, where a stream that was cut off begins again, of what was there before it.
Result<std::optional<repl::LocalSnapshot>> DeltaReceiver::SnapshotOfState(
    ControlClient& client, const ServerVolume& volume, bool full) {
  auto state = log_.Load();
  if (!state) return Pass(state);
  if (!*state) return std::nullopt;
  const auto local = (*state)->complete ? (*state)->after : (*state)->before;
  if (!local) return std::nullopt;
  auto snapshot = FindLocal(volume, *local);
  auto holds = snapshot ? OriginHolds(client, options_.server, volume, *snapshot, *device_)
                        : Result<bool>(false);
  if (full && (!holds || !*holds)) return std::nullopt;
  if (!holds) return Pass(holds);
  if (*holds) return repl::LocalSnapshot(snapshot->tag, snapshot->epoch);
  // Where the stream has no extent, nothing else would notice.
  if (!snapshot) return Gone(options_.device, *local);
  return Fail(ESTALE, options_.device + ": has changed since snapshot " +
                          std::to_string(local->tag) + " of it: revert it to that");
}

// A snapshot of what the origin holds: that of what came last, the newest, or a new one.
Result<std::optional<repl::LocalSnapshot>> DeltaReceiver::SnapshotBefore(
    const repl::DeltaHead& head) {
  auto client = ControlClient::Connect(options_.server);
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  const bool full = head.common.base.none;
  auto known = SnapshotOfState(*client, *volume, full);
  if (!known || *known) return known;
  if (full) return std::nullopt;  // there is no old state to go back to
  if (!volume->snapshots.empty()) {
    const repl::SnapshotId& newest = volume->snapshots.back();
    auto still = OriginIsStill(*client, newest.tag);
    if (!still) return Pass(still);
    if (*still && !volume->WasWritten(newest)) return repl::LocalSnapshot(newest.tag, newest.epoch);
  }
  return Create(*client, volume->free_tag);
}

Result<std::optional<repl::LocalSnapshot>> DeltaReceiver::SnapshotAfter(
    const repl::DeltaHead& head) {
  auto client = ControlClient::Connect(options_.server);
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  auto state = log_.Load();
  if (!state) return Pass(state);
  if (!*state) return Fail(ENOENT, log_.path() + ": is gone");
  // After a crash the one that was to be made may be there.
  if (const auto after = (*state)->after) {
    auto there = volume->WithTag(after->tag);
    auto still = there ? OriginIsStill(*client, after->tag) : Result<bool>(false);
    if (!still) return Pass(still);
    if (*still) return repl::LocalSnapshot(there->tag, there->epoch);
  }
  Tag tag = options_.tag.value_or(head.common.target.tag);
  if ((tag == repl::kOriginTag || !volume->IsFree(tag)) && !options_.tag) tag = volume->free_tag;
  (*state)->after = repl::LocalSnapshot(tag);
  if (Status s = log_.Save(**state); !s) return Pass(s);
  if (!volume->snapshots.empty()) AwaitNextSecond(volume->snapshots.back());
  return Create(*client, tag);
}

Result<bool> DeltaReceiver::SameAs(const repl::LocalSnapshot& local, uint64_t from) const {
  auto client = ControlClient::Connect(options_.server);
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  auto snapshot = FindLocal(*volume, local);
  if (!snapshot || local.epoch == 0) return Gone(options_.device, local);
  return OriginHolds(*client, options_.server, *volume, *snapshot, *device_, from);
}

}  // namespace ddsnap
