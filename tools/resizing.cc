// SPDX-License-Identifier: GPL-2.0
#include "resizing.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "cli/options.h"
#include "control_verb.h"
#include "host/mounts.h"
#include "repl/aligned_bytes.h"
#include "volume_devices.h"
#include "wire/json.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

// Of new sizes.  A table of another length is refused by a device of such blocks only when it is
// switched to, and when the store knows of it.
constexpr uint64_t kBlock = 4096;

struct Volume {
  uint64_t chunk_size = 0, origin_size = 0, free_chunks = 0;
  bool snapshot_beyond = false;  // a good snapshot reaches beyond the origin's new end
};

Result<Volume> Look(const std::string& socket, uint64_t new_size) {
  auto status = AskServer(socket, {{"verb", "status"}});
  if (!status) return Pass(status);
  auto chunk = Field<uint64_t>(*status, "chunk_size");
  auto origin = Field<uint64_t>(*status, "origin_size");
  auto free = Field<uint64_t>(status->value("store", Json::object()), "free_chunks");
  if (!chunk || !origin || !free) return Fail(EPROTO, "server's answer is incomplete");
  Volume volume{*chunk, *origin, *free, false};
  for (const Json& entry : status->value("snapshots", Json::array())) {
    auto state = Field<std::string>(entry, "state");
    auto size = Field<uint64_t>(entry, "size");
    if (!state || !size) return Fail(EPROTO, "server's answer is incomplete");
    if (*state == "ok" && *size > new_size) volume.snapshot_beyond = true;
  }
  return volume;
}

// The devices that show what is to be cut off.
std::vector<dm::DdsnapDevice> LongerThan(const VolumeDevices& devices, uint64_t size) {
  std::vector<dm::DdsnapDevice> longer = devices.Origins();
  std::erase_if(longer, [size](const auto& device) { return device.sectors * 512 <= size; });
  return longer;
}

// A file system on one of them still has its end in use, or may have: nobody mounts it, or has it
// mounted, until this is over.
Result<std::vector<Fd>> Hold(const std::vector<dm::DdsnapDevice>& devices) {
  std::vector<Fd> held;
  for (const dm::DdsnapDevice& device : devices) {
    const std::string path = "/dev/mapper/" + device.name;
    Fd fd(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    if (!fd && errno != EBUSY) return FailErrno(errno, path);
    if (!fd) {
      auto use = DescribeUse(path);
      return Fail(EBUSY, path + ": " + (use && !use->empty() ? *use : "in use") +
                             "; it can only become smaller when it is not mounted");
    }
    held.push_back(std::move(fd));
  }
  return held;
}

// A write of what is there already has every chunk copied that a snapshot needs: one block of
// it will do.  Nobody has it mounted (Hold); what a program writes to the end meanwhile, which is
// about to be cut off, may be written over.
Status TouchTail(const std::string& path, const Volume& volume, uint64_t new_size,
                 const ResizeRequest& request) {
  const Fd fd(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  repl::AlignedBytes buffer(kBlock);
  const uint64_t total = volume.origin_size - new_size;
  for (uint64_t at = new_size; at < volume.origin_size;
       at = (at / volume.chunk_size + 1) * volume.chunk_size) {
    const size_t n = std::min(kBlock, volume.origin_size - at);
    const auto offset = static_cast<off_t>(at);
    if (::pread(fd.get(), buffer.data(), n, offset) != static_cast<ssize_t>(n) ||
        ::pwrite(fd.get(), buffer.data(), n, offset) != static_cast<ssize_t>(n))
      return FailErrno(errno != 0 ? errno : EIO, path + ": at byte " + std::to_string(at));
    if (request.progress) request.progress(at - new_size, total);
  }
  return {};
}

dm::NewDevice TableOf(const dm::DdsnapDevice& device, uint64_t sectors) {
  const auto text = [](const dm::DeviceNumber& number) {
    return std::to_string(number.major) + ":" + std::to_string(number.minor);
  };
  dm::NewDevice table;
  table.name = device.name;
  table.sectors = sectors;
  table.target = "ddsnap";
  table.params =
      text(device.store) + " " + text(device.origin) + " " + device.socket + " " + device.tag;
  return table;
}

Status ReloadAll(const std::vector<dm::DdsnapDevice>& devices, uint64_t new_size) {
  for (const dm::DdsnapDevice& device : devices)
    if (Status s = dm::ReloadDevice(TableOf(device, new_size / 512)); !s) return s;
  return {};
}

// What was reloaded already goes back.
void ReloadBack(const std::vector<dm::DdsnapDevice>& devices) {
  for (const dm::DdsnapDevice& device : devices)
    (void)dm::ReloadDevice(TableOf(device, device.sectors));
}

Result<Json> Tell(const ResizeRequest& request, std::optional<uint64_t> origin) {
  Json question = {{"verb", "resize"}};
  if (origin) question["origin"] = *origin;
  if (request.store) question["store"] = *request.store;
  if (request.meta) question["meta"] = *request.meta;
  return AskServer(request.socket, question);
}

Result<Json> Shrink(const ResizeRequest& request, VolumeDevices& devices, const Volume& volume,
                    uint64_t size) {
  const auto longer = LongerThan(devices, size);
  auto held = Hold(longer);
  if (!held) return Pass(held);
  const uint64_t chunks = (volume.origin_size - size + volume.chunk_size - 1) / volume.chunk_size;
  if (volume.snapshot_beyond) {
    if (chunks > volume.free_chunks)
      return Fail(ENOSPC, "the store has " + FormatSize(volume.free_chunks * volume.chunk_size) +
                              " free, keeping the origin's end for the snapshots may take " +
                              FormatSize(chunks * volume.chunk_size));
    auto path = devices.Origin(volume.origin_size / 512);
    if (!path) return Pass(path);
    if (Status s = TouchTail(*path, volume, size, request); !s) return Pass(s);
    devices.RemoveMade();  // the server refuses while a longer table is there
  }
  if (Status s = ReloadAll(longer, size); !s) {
    ReloadBack(longer);
    return Pass(s);
  }
  auto answer = Tell(request, size);
  if (!answer) ReloadBack(longer);
  return answer;
}

// All that the device has, in whole blocks.  Not less than the origin has, which need not be
// whole blocks: `max` never makes it smaller by itself.
uint64_t MostOf(uint64_t device, uint64_t present) {
  const uint64_t whole = device / kBlock * kBlock;
  return device >= present ? std::max(whole, present) : whole;
}

}  // namespace

Result<Json> ResizeVolume(const ResizeRequest& request) {
  if (!request.origin) return Tell(request, std::nullopt);
  const Asker ask = [&](const Json& question) { return AskServer(request.socket, question); };
  auto status = ask({{"verb", "status"}});
  if (!status) return Pass(status);
  auto present = Field<uint64_t>(*status, "origin_size");
  if (!present) return Pass(present);
  uint64_t size = *request.origin;
  if (size == 0) {
    auto devices = ask({{"verb", "devices"}});
    if (!devices) return Pass(devices);
    auto bytes = Field<uint64_t>(*devices, "origin_size");
    if (!bytes) return Pass(bytes);
    size = MostOf(*bytes, *present);
  }
  if (size % kBlock != 0 && size != *present)
    return Fail(EINVAL, "origin: a new size must be a multiple of " + std::to_string(kBlock));
  auto volume = Look(request.socket, size);
  if (!volume) return Pass(volume);
  auto devices = VolumeDevices::Find(ask, request.own);
  // Without device-mapper nobody has the origin active.
  if (!devices && devices.error().code == ENOENT && size >= volume->origin_size)
    return Tell(request, size);
  if (!devices) return Pass(devices);
  if (size < volume->origin_size) return Shrink(request, *devices, *volume, size);
  auto answer = Tell(request, size);
  if (!answer) return answer;
  // Also after a run that was cut off here.
  for (const dm::DdsnapDevice& device : devices->Origins()) {
    if (device.sectors * 512 >= size) continue;
    Status s = dm::ReloadDevice(TableOf(device, size / 512));
    if (!s) return Fail(s.error().code, s.error().text + "; run it again");
  }
  return answer;
}

Argument AddNewSize(Arguments& args, const std::string& name, std::optional<uint64_t>* size,
                    const std::string& help) {
  const auto take = [size](const std::string& text) -> Status {
    *size = 0;
    if (text == "max") return {};
    auto parsed = ParseSize(text);
    if (!parsed) return Pass(parsed);
    if (*parsed == 0) return Fail(EINVAL, text + ": not a size");
    *size = *parsed;
    return {};
  };
  return args.AddParsed(name, take, help).TypeName("SIZE|max");
}

}  // namespace ddsnap
