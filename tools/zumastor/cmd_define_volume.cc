// SPDX-License-Identifier: GPL-2.0
// zumastor define volume NAME ORIGIN STORE [--meta DEV] [--chunk-size SIZE]
//   [--initialize [-y]] [--mountpoint DIR] [--mount-options O]
#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/uuid.h"
#include "cli/options.h"
#include "cli/output.h"
#include "commands.h"
#include "dm/dm.h"
#include "host/device_names.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "io/file_device.h"
#include "io/signature.h"
#include "report.h"
#include "service_manager.h"
#include "store/snapstore.h"
#include "volume/unit_name.h"
#include "volume/volume_config.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

constexpr uint64_t kUdevWaitMs = 10000;
constexpr uint32_t kDefaultChunk = 16384;

struct Options {
  std::string name, origin, store, meta;
  uint64_t chunk_size = 0;  // 0: not given
  bool initialize = false;
  bool yes = false;
  std::string mountpoint, mount_options;

  [[nodiscard]] std::vector<std::string> devices() const {
    if (meta.empty()) return {origin, store};
    return {origin, store, meta};
  }
};

// The volume that has the device, or a part of it, or that it is a part of, if one does.
Result<std::string> OwnerOf(const DeviceNumber& number) {
  auto live = dm::ListDdsnapDevices();
  if (!live) return Pass(live);
  for (const dm::DdsnapDevice& device : *live)
    if (device.number == dm::DeviceNumber{number.major, number.minor})
      return "is itself " + device.name;
  const auto overlaps = OverlapsOf(number);
  const ConfigFolder folder = ConfigFolder::Default();
  auto names = folder.List();
  if (!names) return Pass(names);
  for (const std::string& name : *names) {
    auto config = folder.Load(name);
    if (!config) continue;
    for (const std::string& path : {config->origin, config->store, config->metadata}) {
      auto known = path.empty() ? Result<DeviceNumber>(Fail(ENOENT, path)) : NumberOf(path);
      if (!known) continue;
      if (*known == number) return "belongs to volume " + name;
      if (std::ranges::find(overlaps, *known) != overlaps.end())
        return "shares its space with " + path + ", which belongs to volume " + name;
    }
  }
  return std::string();
}

Status CheckDevices(const Options& options) {
  std::vector<DeviceNumber> seen;
  for (const std::string& path : options.devices()) {
    auto number = NumberOf(path);
    if (!number) return Pass(number);
    if (number->major >= 0xffff0000) return FailErrno(ENOTBLK, path);
    const auto overlaps = OverlapsOf(*number);
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i] == *number)
        return Fail(EINVAL, path + ": is the same device as " + options.devices()[i]);
      if (std::ranges::find(overlaps, seen[i]) != overlaps.end())
        return Fail(EINVAL, path + ": shares its space with " + options.devices()[i]);
    }
    seen.push_back(*number);
    auto owner = OwnerOf(*number);
    if (!owner) return Pass(owner);
    if (!owner->empty()) return Fail(EBUSY, path + ": " + *owner);
    auto use = DescribeUse(path);
    if (!use) return Pass(use);
    if (!use->empty()) return Fail(EBUSY, path + ": " + *use);
  }
  return {};
}

Status MayOverwrite(FileDevice& device, bool yes) {
  if (yes) return {};
  std::string holds;
  if (SnapStore::IsFormatted(device)) {
    holds = "a snapshot store";
  } else {
    auto signature = FindSignature(device.name());
    if (!signature) return Pass(signature);
    holds = *signature;
  }
  if (holds.empty() || Confirm(device.name() + " holds " + holds + ". Lose it?")) return {};
  return Fail(EEXIST, device.name() + ": holds " + holds + "; -y overwrites it");
}

// Makes the store, or looks at the one that is there; its UUID.
Result<Uuid> PrepareStore(const Options& options) {
  const FileDevice::Options how = {.write = options.initialize, .exclusive = true, .lock = true};
  auto store = FileDevice::Open(options.store, how);
  if (!store) return Pass(store);
  std::unique_ptr<FileDevice> meta;
  if (!options.meta.empty()) {
    auto opened = FileDevice::Open(options.meta, how);
    if (!opened) return Pass(opened);
    meta = std::move(*opened);
  }
  auto origin_size = SizeOf(options.origin);
  if (!origin_size) return Pass(origin_size);
  if (options.initialize) {
    for (FileDevice* device : {store->get(), meta.get()})
      if (device != nullptr)
        if (Status s = MayOverwrite(*device, options.yes); !s) return Pass(s);
    FormatOptions format;
    format.origin_size = *origin_size;
    format.chunk_size =
        options.chunk_size != 0 ? static_cast<uint32_t>(options.chunk_size) : kDefaultChunk;
    if (Status s = SnapStore::Format(**store, meta.get(), format); !s) return Pass(s);
  } else if (!SnapStore::IsFormatted(**store)) {
    return Fail(EINVAL, options.store + ": holds no snapshot store; --initialize makes one");
  }
  auto opened = SnapStore::Open(**store, meta.get(), {.read_only = true});
  if (!opened) return Pass(opened);
  if ((*opened)->origin_size() > *origin_size)
    return Fail(EINVAL, options.origin + ": is smaller than the origin that " + options.store +
                            " is the store of");
  return (*opened)->uuid();
}

IniFile WriteConfig(const Options& options, const Uuid& uuid) {
  IniFile file = *IniFile::Parse("# Volume " + options.name + "; see zumastor.conf(5).\n",
                                 ConfigFolder::Default().PathOf(options.name));
  file.Set("Volume", "Origin", StableName(options.origin));
  file.Set("Volume", "Store", StableName(options.store));
  if (!options.meta.empty()) file.Set("Volume", "Metadata", StableName(options.meta));
  file.Set("Volume", "UUID", FormatUuid(uuid));
  if (!options.mountpoint.empty()) file.Set("Mount", "MountPoint", options.mountpoint);
  if (!options.mount_options.empty()) file.Set("Mount", "Options", options.mount_options);
  return file;
}

// Before a device is touched: the file must say, when it is read, what was asked for.
Status CheckConfig(const Options& options) {
  const IniFile file = WriteConfig(options, Uuid());
  auto again = IniFile::Parse(file.text(), file.name());
  if (!again) return Pass(again);
  const auto written = file.entries(), read = again->entries();
  const bool same = std::ranges::equal(written, read, [](const auto& a, const auto& b) {
    return a.section == b.section && a.key == b.key && a.value == b.value;
  });
  if (!same)
    return Fail(EINVAL, options.name + ": an operand cannot be written to a file of lines");
  if (auto config = ReadConfig(options.name, *again); !config) return Pass(config);
  if (options.mountpoint.empty()) return {};
  auto mounted = MountedAt(options.mountpoint);
  if (!mounted) return Pass(mounted);
  if (!mounted->empty()) return Fail(EBUSY, options.mountpoint + ": something is mounted there");
  return {};
}

void RetriggerAll(const Options& options) {
  for (const std::string& path : options.devices()) {
    auto number = NumberOf(path);
    const Status s = number ? Retrigger(*number, kUdevWaitMs) : Status();
    if (!s) Warn(s.error().text);
  }
}

Status Start(const Options& options) {
  if (Status s = Systemctl("daemon-reload", {}); !s) return s;
  if (Status s = Systemctl("enable", {"--no-reload", VolumeUnit(options.name)}); !s) return s;
  return Systemctl("start", {VolumeUnit(options.name)});
}

Status Mount(const Options& options) {
  if (options.mountpoint.empty()) return {};
  auto type = FindFileSystem(OriginPath(options.name));
  if (!type) return Pass(type);
  if (!type->empty()) return Systemctl("start", {EscapeUnitPath(options.mountpoint) + ".mount"});
  Warn(options.name + ": has no file system yet; make one on " + OriginPath(options.name) +
       ", then systemctl start " + EscapeUnitPath(options.mountpoint) + ".mount");
  return {};
}

Result<int> Run(const Options& options) {
  if (Status s = CheckVolumeName(options.name); !s) return Pass(s);
  if (options.chunk_size != 0 && !options.initialize)
    return Fail(EINVAL, "--chunk-size: goes with --initialize");
  auto lock = CommandLock::OfConfiguration();
  if (!lock) return Pass(lock);
  const ConfigFolder folder = ConfigFolder::Default();
  auto present = folder.LoadFile(options.name);
  if (present) return Fail(EEXIST, options.name + ": is defined already");
  if (present.error().code != ENOENT) return Pass(present);
  if (Status s = CheckDevices(options); !s) return Pass(s);
  if (Status s = CheckConfig(options); !s) return Pass(s);
  auto uuid = PrepareStore(options);
  if (!uuid) return Pass(uuid);
  if (Status s = folder.Save(options.name, WriteConfig(options, *uuid)); !s) return Pass(s);
  RetriggerAll(options);
  if (Status s = Start(options); !s) {
    (void)Systemctl("disable", {"--no-reload", VolumeUnit(options.name)});
    (void)folder.Remove(options.name);
    (void)Systemctl("daemon-reload", {});
    RetriggerAll(options);
    return Pass(s);
  }
  if (Status s = Mount(options); !s) return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "of the volume: letters, digits, '_', '.', '-'").Required();
  args.Add("ORIGIN", &options->origin, "the device whose contents are protected").Required();
  args.Add("STORE", &options->store, "the device that takes older contents").Required();
  args.Add("--meta", &options->meta, "a device of its own for the metadata");
  AddSize(args, "-c,--chunk-size", &options->chunk_size, "unit of copying, 4K to 1M (16K)");
  args.AddFlag("--initialize", &options->initialize, "make a new, empty store; ORIGIN is kept");
  args.AddFlag("-y,--yes", &options->yes, "overwrite whatever STORE and DEV hold");
  args.Add("--mountpoint", &options->mountpoint, "mount the volume there");
  args.Add("--mount-options", &options->mount_options, "as in fstab(5)");
  return [options] { return Run(*options); };
}

}  // namespace

const Command kDefineVolume = {
    "define volume", {}, "make a volume of two devices and bring it up", Declare};

}  // namespace ddsnap
