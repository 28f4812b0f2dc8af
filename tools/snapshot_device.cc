// SPDX-License-Identifier: GPL-2.0
#include "snapshot_device.h"

#include <unistd.h>

#include <cerrno>

#include "dm/dm.h"
#include "io/device_number.h"
#include "io/unix_socket.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace ddsnap {
namespace {

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
