// SPDX-License-Identifier: GPL-2.0
#include "volume.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/uuid.h"
#include "dm/dm.h"
#include "io/device_number.h"

namespace ddsnap::server {
namespace {

bool Same(const dm::DeviceNumber& a, const wire::Device& b) {
  return a.major == b.major && a.minor == b.minor;
}

Status SyncFolder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return FailErrno(errno, path);
  return {};
}

// The newest snapshot when the store failed; all that there are where the mark does not say.
Epoch EpochOfMark(const std::string& path) {
  std::ifstream file(path);
  Epoch newest = 0;
  return file >> newest ? newest : std::numeric_limits<Epoch>::max();
}

struct MarkJob {
  std::string state_dir, path;
  Epoch newest;
  std::promise<Status> done;
};

// Whole or not there at all.  One that is there may be of an earlier failure.
Status MakeMark(const MarkJob& job) {
  if (::access(job.path.c_str(), F_OK) == 0 && EpochOfMark(job.path) >= job.newest) return {};
  (void)::mkdir(job.state_dir.c_str(), 0755);
  const std::string folder = job.state_dir + "/abandoned";
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno(errno, folder);
  const std::string fresh = job.path + ".new", text = std::to_string(job.newest) + "\n";
  const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != std::ssize(text) ||
      ::fsync(file.get()) != 0 || ::rename(fresh.c_str(), job.path.c_str()) != 0) {
    const int code = errno;
    (void)::unlink(fresh.c_str());
    return FailErrno(code, job.path);
  }
  return SyncFolder(folder);
}

void* RunMarkJob(void* argument) {
  const std::unique_ptr<MarkJob> job(static_cast<MarkJob*>(argument));
  job->done.set_value(MakeMark(*job));
  return nullptr;
}

// All of our memory is locked, that of the thread too: it gets little.
void StartMarkJob(std::unique_ptr<MarkJob> job) {
  constexpr size_t kStack = 64 * 1024;
  pthread_attr_t attributes;
  (void)::pthread_attr_init(&attributes);
  (void)::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  (void)::pthread_attr_setstacksize(&attributes, kStack);
  pthread_t thread;
  MarkJob* const raw = job.release();
  if (::pthread_create(&thread, &attributes, RunMarkJob, raw) != 0) (void)RunMarkJob(raw);
  (void)::pthread_attr_destroy(&attributes);
}

}  // namespace

std::unique_ptr<Volume> Volume::TEST_Wrap(std::unique_ptr<SnapStore> store,
                                          const wire::VolumeDevices& devices,
                                          std::string state_dir) {
  auto volume = std::unique_ptr<Volume>(new Volume);
  volume->store_ = std::move(store);
  volume->devices_ = devices;
  volume->state_dir_ = std::move(state_dir);
  return volume;
}

uint64_t Volume::store_sectors() const { return store_->store_size() / 512; }

Result<Volume::Sizes> Volume::DeviceSizes() const {
  if (!store_device_) return Sizes{INT64_MAX, INT64_MAX, INT64_MAX};
  auto origin = SizeOf(origin_path_);
  if (!origin) return Pass(origin);
  return Sizes{*origin, store_device_->size(), meta_device_ ? meta_device_->size() : 0};
}

bool Volume::MaybeAttached() {
  // Device-mapper knows nothing of devices that a test made up.
  const auto devices =
      store_device_ ? dm::ListDdsnapDevices()
                    : Result<std::vector<dm::DdsnapDevice>>(FailErrno(ENODEV, "device-mapper"));
  if (!devices) return store_->attached();
  for (const auto& device : *devices) {
    if (Same(device.store, devices_.store) && Same(device.origin, devices_.origin)) return true;
  }
  if (store_->attached() && !store_->failed()) {
    // The device went away while no server was there to hear it.
    if (Status s = store_->SetAttached(false); !s) Log(LOG_WARNING, s.error().text);
  }
  return false;
}

Result<uint64_t> Volume::LongestOriginTable() const {
  if (!store_device_) return 0;  // made-up devices
  auto devices = dm::ListDdsnapDevices();
  if (!devices) {
    const int code = devices.error().code;
    if (code == ENOENT || code == ENODEV || code == EACCES) return 0;
    return Pass(devices);
  }
  uint64_t longest = 0;
  for (const auto& device : *devices) {
    if (device.tag == "-1" && Same(device.store, devices_.store) &&
        Same(device.origin, devices_.origin))
      longest = std::max(longest, device.sectors * 512);
  }
  return longest;
}

std::string Volume::MarkPath() const {
  return state_dir_ + "/abandoned/" + FormatUuid(store_->uuid());
}

// The file system may be on this volume: its writes wait for this very server, and only what it
// says next, that the store is abandoned, lets them go on.  So another thread waits for it.
Status Volume::MarkAbandoned(std::chrono::milliseconds patience) {
  if (!marking_.valid()) {
    auto job = std::make_unique<MarkJob>();
    job->state_dir = state_dir_;
    job->path = MarkPath();
    job->newest = store_->epoch();
    marking_ = job->done.get_future();
    StartMarkJob(std::move(job));
  }
  if (marking_.wait_for(patience) == std::future_status::ready) return marking_.get();
  return Fail(ETIMEDOUT, MarkPath() + ": its file system does not answer");
}

// The origin was written to without copies: no snapshot or bookmark of that time is good.  Those
// that were made since are: a mark may come to light late, if a file system was mounted over it.
Status Volume::ObeyAbandonedMark() {
  if (::access(MarkPath().c_str(), F_OK) != 0) return {};
  Log(LOG_WARNING, "the store had failed before: all snapshots of that time are given up");
  const Epoch newest = EpochOfMark(MarkPath());
  std::vector<Epoch> good;
  for (const Snapshot& snapshot : store_->snapshots()) {
    if (snapshot.is_base() && snapshot.epoch <= newest) good.push_back(snapshot.epoch);
  }
  for (const Epoch epoch : good) {
    if (Status s = store_->GiveUp(epoch); !s) return s;
  }
  if (Status s = store_->Commit(/*flush_copies=*/false); !s) return s;
  if (::unlink(MarkPath().c_str()) != 0) return FailErrno(errno, MarkPath());
  return SyncFolder(state_dir_ + "/abandoned");
}

}  // namespace ddsnap::server
