// SPDX-License-Identifier: GPL-2.0
#include "snapshot_device.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "dm/dm.h"
#include "io/device_number.h"
#include "io/unix_socket.h"
#include "repl/aligned_bytes.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace ddsnap {
namespace {

constexpr size_t kPiece = 1 << 20;  // bytes that are compared at once

wire::VolumeDevices DevicesOf(const dm::DdsnapDevice& device) {
  return {{device.store.major, device.store.minor}, {device.origin.major, device.origin.minor}};
}

// Asks the server what the kernel's constructor asks: is that snapshot, on these
// devices, yours?
Result<wire::Identified> Identify(const std::string& socket, const wire::Identify& request) {
  auto fd = ConnectUnix(socket, /*nonblocking=*/false);
  if (!fd) return Pass(fd);
  wire::FrameWriter out;
  wire::Put(out, request);
  auto all = out.WriteTo(fd->get());
  if (!all) return Pass(all);
  if (!*all) return Fail(EAGAIN, socket + ": server does not read requests");
  wire::FrameReader in;
  for (;;) {
    auto frame = in.Next();
    if (!frame) return Pass(frame);
    if (!*frame) {
      auto input = in.ReadFrom(fd->get());
      if (!input) return Pass(input);
      if (*input == wire::FrameReader::Input::kClosed) {
        return Fail(ECONNRESET, socket + ": server closed the connection");
      }
      continue;
    }
    if ((*frame)->type == wire::Identified::kType) return wire::Get<wire::Identified>(**frame);
    if ((*frame)->type == wire::Refused::kType) {
      return Fail(ENOENT, socket + ": " + wire::Get<wire::Refused>(**frame).reason);
    }
    return Fail(EPROTO, socket + ": unexpected answer");
  }
}

bool IsOf(const std::string& socket, const dm::DdsnapDevice& device, const Uuid& volume,
          const repl::SnapshotId& snapshot) {
  auto answer = Identify(socket, {DevicesOf(device), snapshot.size / 512, snapshot.tag});
  return answer && answer->uuid == volume && answer->epoch == snapshot.epoch;
}

std::string NumberText(const dm::DeviceNumber& number) {
  return std::to_string(number.major) + ":" + std::to_string(number.minor);
}

Result<std::unique_ptr<repl::ContentDevice>> OpenTemporary(const dm::DdsnapDevice& like,
                                                           const repl::SnapshotId& snapshot) {
  const std::string tag = std::to_string(snapshot.tag);
  dm::NewDevice wanted;
  wanted.name = "ddsnap-send-" + std::to_string(::getpid()) + "-" + tag;
  wanted.sectors = snapshot.size / 512;
  wanted.target = "ddsnap";
  wanted.params =
      NumberText(like.store) + " " + NumberText(like.origin) + " " + like.socket + " " + tag;
  wanted.read_only = true;
  wanted.hidden = true;
  if (Status s = dm::CreateDevice(wanted); !s) return Pass(s);
  auto device = repl::ContentDevice::OpenToRead("/dev/mapper/" + wanted.name);
  // It goes when we close it; now, if we could not open it.
  if (Status s = dm::RemoveWhenUnused(wanted.name); !s && device) return Pass(s);
  return device;
}

}  // namespace

Result<std::unique_ptr<repl::ContentDevice>> OpenSnapshot(const std::string& socket,
                                                          const Uuid& volume,
                                                          const repl::SnapshotId& snapshot) {
  auto devices = dm::ListDdsnapDevices();
  if (!devices) return Pass(devices);
  const dm::DdsnapDevice* like = nullptr;
  for (const dm::DdsnapDevice& device : *devices) {
    if (!IsOf(socket, device, volume, snapshot)) continue;
    if (device.tag == std::to_string(snapshot.tag)) {
      return repl::ContentDevice::OpenToRead("/dev/mapper/" + device.name);
    }
    like = &device;
  }
  if (like != nullptr) return OpenTemporary(*like, snapshot);
  return Fail(ENODEV, repl::Describe(snapshot) +
                          ": no device of its volume is active on this "
                          "machine: bring the volume up, or name devices with --device and "
                          "--from-device");
}

Result<bool> OriginHolds(ControlClient& client, const std::string& socket,
                         const ServerVolume& volume, const repl::SnapshotId& snapshot,
                         const repl::ContentDevice& origin, uint64_t from) {
  if (volume.WasWritten(snapshot))
    return Fail(ESTALE, repl::Describe(snapshot) +
                            ": was written to, and does not say any more what was received: "
                            "--forget, and send everything");
  std::vector<ChunkRange> ranges;
  auto answer = client.Call({{"verb", "changelist"}, {"from", snapshot.tag}, {"to", -1}},
                            [&ranges](const ChunkRange& range) -> Status {
                              ranges.push_back(range);
                              return {};
                            });
  if (!answer) return Pass(answer);
  if (ranges.empty()) return true;
  auto device = OpenSnapshot(socket, volume.uuid, snapshot);
  if (!device) return Pass(device);
  const uint64_t size = std::min({snapshot.size, origin.size(), (*device)->size()});
  repl::AlignedBytes ours(kPiece), theirs(kPiece);
  for (const ChunkRange& range : ranges) {
    const uint64_t end = std::min((range.chunk + range.count) * volume.chunk_size, size);
    for (uint64_t at = std::max(range.chunk * volume.chunk_size, from); at < end; at += kPiece) {
      const auto length = static_cast<size_t>(std::min<uint64_t>(kPiece, end - at));
      const auto a = std::span<std::byte>(ours).first(length);
      const auto b = std::span<std::byte>(theirs).first(length);
      if (Status s = origin.Read(at, a); !s) return Pass(s);
      if (Status s = (*device)->Read(at, b); !s) return Pass(s);
      if (std::memcmp(a.data(), b.data(), length) != 0) return false;
    }
  }
  return true;
}

bool IsOriginOf(const std::string& socket, const std::string& path) {
  auto number = NumberOf(path);
  auto devices = dm::ListDdsnapDevices();
  if (!number || !devices) return false;
  for (const dm::DdsnapDevice& device : *devices) {
    if (device.number.major != number->major || device.number.minor != number->minor) continue;
    // Any part of the origin will do: the question is whose it is.
    return device.tag == "-1" &&
           Identify(socket, {DevicesOf(device), 1, wire::kTagOrigin}).has_value();
  }
  return false;
}

DownstreamDevice LookUp(const std::string& path) {
  DownstreamDevice found;
  auto number = NumberOf(path);
  auto devices = dm::ListDdsnapDevices();
  if (!number || !devices) return found;
  for (const dm::DdsnapDevice& device : *devices) {
    if (device.number.major != number->major || device.number.minor != number->minor) continue;
    found.origin = device.tag == "-1";
    found.snapshot = !found.origin;
    found.dm_name = device.name;
  }
  return found;
}

}  // namespace ddsnap
