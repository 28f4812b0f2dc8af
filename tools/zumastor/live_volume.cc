// SPDX-License-Identifier: GPL-2.0
#include "live_volume.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>

#include "cli/options.h"
#include "dm/dm.h"
#include "host/device_names.h"
#include "host/mounts.h"
#include "io/device_number.h"
#include "report.h"
#include "service_manager.h"
#include "snapshot_mounts.h"
#include "wire/control.h"
#include "wire/json.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// Devices that the unit waits for are there already; by hand one may be quicker than udev.
constexpr uint64_t kDeviceWaitMs = 10000;
constexpr uint64_t kNameWaitMs = 30000;

std::string Numbers(const DeviceNumber& number) {
  return std::to_string(number.major) + ":" + std::to_string(number.minor);
}

Result<std::vector<LiveSnapshot>> ParseSnapshots(const Json& answer) {
  std::vector<LiveSnapshot> snapshots;
  for (const Json& entry : answer.value("snapshots", Json::array())) {
    auto tag = wire::GetNumber(entry, "tag", 0, kMaxTag);
    auto created = wire::GetText(entry, "created");
    auto state = wire::GetText(entry, "state");
    if (!tag || !created || !state) return Fail(EPROTO, "server's answer is incomplete");
    if (*state == "deleting") continue;
    snapshots.push_back({static_cast<Tag>(*tag), *created, *state});
  }
  return snapshots;
}

// Of a volume whose snapshots wait for /var/lib/zumastor: zumastor-rest@.service looks for it.
std::string EarlyMark(const std::string& volume) { return "/run/zumastor/early/" + volume; }

}  // namespace

bool IsEarly(const std::string& volume) {
  std::error_code error;
  return fs::exists(EarlyMark(volume), error);
}

Result<std::string> UuidOf(const VolumeConfig& config) {
  if (!config.uuid.empty()) return config.uuid;
  auto answer = AskVolume(config.name, {{"verb", "list"}});
  if (!answer) return Pass(answer);
  return wire::GetText(*answer, "volume_uuid");
}

Result<Records> RecordsOf(const VolumeConfig& config) {
  // What lies under a mount point is not what has been remembered.
  if (IsEarly(config.name))
    return Fail(EAGAIN, config.name + ": /var/lib/zumastor is not there yet; zumastor start " +
                            config.name);
  auto uuid = UuidOf(config);
  if (!uuid) return Pass(uuid);
  return RecordFolder::Default().Load(config.name, *uuid);
}

Result<std::vector<dm::DdsnapDevice>> DevicesOf(const std::string& volume) {
  auto all = dm::ListDdsnapDevices();
  if (!all) return all;
  const std::string origin = OriginDmName(volume);
  std::erase_if(*all, [&](const dm::DdsnapDevice& device) {
    return device.name != origin && !device.name.starts_with(origin + "@");
  });
  return all;
}

Result<Json> AskVolume(const std::string& name, const Json& request) {
  auto client = ControlClient::Connect(ServerSocket(name));
  auto answer = client ? client->Call(request) : Result<Json>(std::unexpected(client.error()));
  if (answer) return answer;
  // A server that could not start has told the service manager why.
  const std::string told = UnitProperty(ServerUnit(name), "StatusText");
  const bool ended = answer.error().code == ECONNRESET || answer.error().code == ECONNREFUSED ||
                     answer.error().code == EPIPE || answer.error().code == ENOENT;
  return ended && !told.empty() ? Fail(answer.error().code, name + ": " + told)
                                : Fail(answer.error().code, name + ": " + answer.error().text);
}

Result<LiveVolume> LiveVolume::Open(const std::string& name) {
  // A name that is none must not become one of a lock's file.
  if (auto known = ConfigFolder::Default().LoadFile(name); !known) return Pass(known);
  auto lock = CommandLock::OfVolume(name);
  if (!lock) return Pass(lock);
  auto config = ConfigFolder::Default().Load(name);
  if (!config) return Pass(config);
  return LiveVolume(std::move(*config), std::move(*lock));
}

Result<Json> LiveVolume::Ask(const Json& request) const { return AskVolume(name(), request); }

Result<bool> LiveVolume::IsUp() const {
  auto devices = DevicesOf(name());
  if (!devices) return Pass(devices);
  return std::ranges::any_of(*devices,
                             [&](const auto& d) { return d.name == OriginDmName(name()); });
}

Status LiveVolume::RequireUp() const {
  auto up = IsUp();
  if (!up) return Pass(up);
  if (*up) return {};
  return Fail(ENODEV, name() + ": is not up; zumastor start " + name());
}

Result<std::vector<LiveSnapshot>> LiveVolume::Snapshots() const {
  auto answer = Ask({{"verb", "list"}});
  if (!answer) return Pass(answer);
  return ParseSnapshots(*answer);
}

// ---- devices

Status LiveVolume::CreateDevice(const std::string& dm_name, const std::string& path,
                                std::optional<Tag> tag) const {
  auto uuid = UuidOf(config_);
  if (!uuid) return Pass(uuid);
  auto store = NumberOf(config_.store);
  if (!store) return Pass(store);
  auto origin = NumberOf(config_.origin);
  if (!origin) return Pass(origin);
  Json request = {{"verb", "size"}};
  if (tag) request["tag"] = *tag;
  auto answer = Ask(request);
  if (!answer) return Pass(answer);
  auto sectors = wire::GetNumber(*answer, "sectors", 1, INT64_MAX);
  if (!sectors) return Pass(sectors);
  const std::string tag_text = tag ? std::to_string(*tag) : "-1";
  const dm::NewDevice device = {
      .name = dm_name,
      .uuid = "ZUMASTOR-" + *uuid + (tag ? "@" + tag_text : ""),
      .sectors = static_cast<uint64_t>(*sectors),
      .target = "ddsnap",
      .params = Numbers(*store) + " " + Numbers(*origin) + " " + kAgentSocket + " " + tag_text,
      // Who writes to a received snapshot would change what comes next is compared with.
      .read_only = tag && config_.source};
  if (Status s = dm::CreateDevice(device); !s) return s;
  auto number = dm::NumberOfName(dm_name);
  if (!number) return Pass(number);
  return WaitForName(path, {number->major, number->minor}, kNameWaitMs);
}

Status LiveVolume::AttachSnapshot(Tag tag) const {
  const std::string dm_name = SnapshotDmName(name(), tag);
  if (dm::NumberOfName(dm_name)) return {};
  Status s = CreateDevice(dm_name, SnapshotPath(name(), tag), tag);
  if (!s) (void)dm::RemoveDevice(dm_name);
  return s;
}

Status LiveVolume::DetachSnapshot(Tag tag) const {
  const std::string dm_name = SnapshotDmName(name(), tag);
  auto number = dm::NumberOfName(dm_name);
  if (!number) return {};
  if (Status s = UnmountSnapshot(*this, tag); !s) return s;
  const Status s = dm::RemoveDevice(dm_name);
  if (s || s.error().code == ENXIO) return {};
  auto use = DescribeUse("/dev/mapper/" + dm_name);
  return Fail(s.error().code,
              SnapshotPath(name(), tag) + ": " + (use && !use->empty() ? *use : s.error().text));
}

Status LiveVolume::BookmarkSnapshot(Tag tag) const {
  if (Status s = DetachSnapshot(tag); !s) return s;
  auto answer = Ask({{"verb", "bookmark"}, {"tag", tag}});
  if (!answer) return Pass(answer);
  return {};
}

Status LiveVolume::DeleteSnapshot(Tag tag) const {
  if (Status s = DetachSnapshot(tag); !s) return s;
  auto answer = Ask({{"verb", "delete"}, {"tag", tag}});
  if (!answer) return Pass(answer);
  return {};
}

Status LiveVolume::AttachOrigin() const {
  const std::string origin = OriginDmName(name());
  if (dm::NumberOfName(origin)) return {};
  Status s = CreateDevice(origin, OriginPath(name()), std::nullopt);
  if (!s) (void)dm::RemoveDevice(origin);
  return s;
}

Status LiveVolume::BringUp() {
  Status s = MakeDevices();
  // Who failed to come up must not keep the store.
  if (!s && !dm::NumberOfName(OriginDmName(name()))) (void)StopServer();
  return s;
}

// The server has no order of its own: a volume that could not be taken down needs it still.
Status LiveVolume::StopServer() const { return Systemctl("stop", {ServerUnit(name())}); }

Status LiveVolume::MakeDevices() {
  for (const std::string* device : {&config_.origin, &config_.store, &config_.metadata})
    if (!device->empty())
      if (Status s = WaitForDevice(*device, kDeviceWaitMs); !s) return s;
  auto answer = Ask({{"verb", "list"}});
  if (!answer) return Pass(answer);
  // The server has refused another store than that of the configuration.
  auto uuid = wire::GetText(*answer, "volume_uuid");
  if (!uuid) return Pass(uuid);
  if (std::exchange(config_.uuid, *uuid).empty()) RememberUuid();
  if (Status s = FinishRevert(); !s) return s;
  if (Status s = AttachOrigin(); !s) return s;
  if (!HasItsMounts(RestUnit(name()))) return LeaveRest();
  return MakeSnapshots();
}

// So that who only looks knows it too.  A file that cannot be written, or is being written, is left
// for another time.
void LiveVolume::RememberUuid() const {
  auto lock = CommandLock::OfConfigurationIfFree();
  if (!lock) return;
  const ConfigFolder folder = ConfigFolder::Default();
  auto file = folder.LoadFile(name());
  if (!file) return;
  file->Set("Volume", "UUID", config_.uuid);
  if (Status s = folder.Save(name(), *file); !s) Warn(s.error().text);
}

// Volumes come up before most file systems are mounted, for those may be on them.
// Invariant: no snapshot gets a device before the mark of an abandoned store could be seen.
Status LiveVolume::LeaveRest() const {
  const std::string mark = EarlyMark(name());
  std::error_code error;
  fs::create_directories(fs::path(mark).parent_path(), error);
  if (!std::ofstream(mark)) return FailErrno(errno, mark);
  return {};
}

// The server looked for it when it began: where there was no /var yet, it begins once more.
Status LiveVolume::ObeyAbandonedMark() const {
  auto uuid = UuidOf(config_);
  if (!uuid) return Pass(uuid);
  if (!RecordFolder::Default().HasAbandonedMark(*uuid)) return {};
  auto status = Ask({{"verb", "status"}});
  if (!status) return Pass(status);
  if (status->contains("failed")) return {};  // it made the mark
  return Systemctl("restart", {ServerUnit(name())});
}

Status LiveVolume::BringUpRest() {
  auto up = IsUp();
  if (!up) return Pass(up);
  auto uuid = UuidOf(config_);
  if (!uuid) return Pass(uuid);
  config_.uuid = *uuid;
  rest_ = true;
  if (*up)
    if (Status s = MakeSnapshots(); !s) return s;
  std::error_code error;
  fs::remove(EarlyMark(name()), error);
  return {};
}

Status LiveVolume::MakeSnapshots() const {
  if (Status s = ObeyAbandonedMark(); !s) return s;
  auto snapshots = Snapshots();
  if (!snapshots) return Pass(snapshots);
  // An origin without one of its snapshots is better than none.
  Status all;
  for (const LiveSnapshot& snapshot : *snapshots) {
    if (!snapshot.ok()) continue;
    if (Status s = AttachSnapshot(snapshot.tag); !s && all) all = s;
  }
  if (Status s = SyncSnapshotMounts(*this, *snapshots); !s && all) all = s;
  if (Status s = ShowReplica(*this, /*wait=*/false); !s && all) all = s;
  if (!all) Warn(all.error().text);
  return {};
}

Status LiveVolume::DetachAllSnapshots() const {
  auto devices = DevicesOf(name());
  if (!devices) return Pass(devices);
  Status all;
  for (const dm::DdsnapDevice& device : *devices) {
    if (device.name.starts_with(RevertDmName() + "-")) {  // of a revert that was killed
      if (Status s = dm::RemoveDevice(device.name); !s && all) all = s;
      continue;
    }
    auto tag = ParseTag(device.tag);
    if (device.name == OriginDmName(name()) || !tag) continue;
    if (Status s = DetachSnapshot(*tag); !s && all) all = s;
  }
  return all;
}

Status LiveVolume::TakeDown() {
  const std::string origin = OriginDmName(name());
  if (auto number = dm::NumberOfName(origin)) {
    auto use = DescribeUse("/dev/mapper/" + origin);
    if (use && !use->empty()) return Fail(EBUSY, OriginPath(name()) + ": " + *use);
  }
  // Whoever is asked to stop a volume has looked (StopVolume): what is at work still is in the way
  // of a machine that goes down.
  EndReplication();
  if (Status s = HideReplica(*this); !s) return s;
  if (Status s = DetachAllSnapshots(); !s) return s;
  const Status s = dm::RemoveDevice(origin);
  if (!s && s.error().code != ENXIO) return s;
  if (Status stopped = StopServer(); !stopped) return stopped;
  std::error_code error;
  fs::remove(EarlyMark(name()), error);
  return RemoveSnapshotMounts(name());
}

// ---- records

void LiveVolume::EndReplication() const {
  auto records = LoadRecords();
  if (records) CommandLock::EndReplication(name(), PeersOf(config_, *records));
}

Result<Records> LiveVolume::LoadRecords() const {
  return rest_ ? RecordFolder::Default().Load(name(), config_.uuid) : RecordsOf(config_);
}

Status LiveVolume::SaveRecords(const Records& records) const {
  return RecordFolder::Default().Save(name(), records);
}

}  // namespace ddsnap
