// SPDX-License-Identifier: GPL-2.0
#include "simulation.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/checker.h"

namespace ddsnap {

Simulation::Simulation(const Options& options)
    : options_(options),
      random_(options.seed),
      origin_(power_, options.origin_chunks * options.chunk_size, "origin"),
      store_device_(power_, options.store_bytes, "store"),
      copied_(options.origin_chunks),
      origin_now_(options.origin_chunks) {
  if (options.meta_bytes != 0)
    meta_ = std::make_unique<FaultDevice>(power_, options.meta_bytes, "meta");
  boot_id_[0] = 1;
}

bool Simulation::Bad(const std::string& why) {
  if (why_.empty()) why_ = "step " + std::to_string(steps_) + ": " + why;
  return false;
}

// An error is expected once the power is off, and at no other time.
bool Simulation::Check(const Status& s, const char* what) {
  if (s) return true;
  return power_.off() ? false : Bad(std::string(what) + ": " + s.error().text);
}

bool Simulation::Start() {
  FormatOptions format;
  format.chunk_size = options_.chunk_size;
  format.journal_size = options_.journal_bytes;
  format.origin_size = origin_.size();
  for (size_t i = 0; i < format.uuid.size(); ++i) format.uuid[i] = static_cast<uint8_t>(i + 1);
  if (!Check(SnapStore::Format(store_device_, meta_.get(), format), "format")) return false;
  return OpenStore();
}

bool Simulation::OpenStore() {
  OpenOptions open;
  open.boot_id = boot_id_;
  open.cache_bytes = 1 << 20;
  auto store = SnapStore::Open(store_device_, meta_.get(), open);
  if (!store) return power_.off() ? false : Bad("open: " + store.error().text);
  store_ = std::move(*store);
  flush_needed_ = true;
  kernel_live_ = store_->live();
  return true;
}

// ---- contents: a chunk is its value in the first word of every sector

bool Simulation::ReadChunk(BlockDevice& device, uint64_t index, uint64_t* value) {
  std::vector<std::byte> bytes(options_.chunk_size);
  if (!Check(device.Read(index * options_.chunk_size, bytes), "read")) return false;
  std::memcpy(value, bytes.data(), sizeof(*value));
  for (size_t i = 0; i < bytes.size(); i += FaultDevice::kSector) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    if (word != *value) *value = ~uint64_t{0};  // torn: equal to no content
  }
  return true;
}

bool Simulation::WriteChunk(BlockDevice& device, uint64_t index, uint64_t value) {
  std::vector<std::byte> bytes(options_.chunk_size);
  for (size_t i = 0; i < bytes.size(); i += FaultDevice::kSector)
    std::memcpy(bytes.data() + i, &value, sizeof(value));
  power_.Elsewhere(true);
  const Status s = device.Write(index * options_.chunk_size, bytes);
  power_.Elsewhere(false);
  return Check(s, "write");
}

bool Simulation::FlushDevice(BlockDevice& device) {
  power_.Elsewhere(true);
  const Status s = device.Flush();
  power_.Elsewhere(false);
  return Check(s, "flush");
}

// ---- the kernel's part

bool Simulation::NeedGrant() {
  if (!granted_.empty()) return true;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    auto ranges = store_->Grant(1 + Random(8));
    if (ranges) {
      if (!CommitAll()) return false;  // before that nobody may be told
      for (const Range& range : *ranges)
        for (uint64_t i = 0; i < range.count; ++i) granted_.push_back(range.address + i);
      return true;
    }
    if (ranges.error().code == EAGAIN) {
      if (!CommitAll()) return false;
      auto more = store_->Step();
      if (!more) return Check(std::unexpected(more.error()), "step");
      continue;
    }
    if (ranges.error().code != ENOSPC)
      return Check(std::unexpected(ranges.error()), "grant");
    if (!MakeSpace()) return false;
  }
  return Bad("grant: no progress");
}

bool Simulation::MakeSpace() {
  const auto victim = store_->VictimForSpace([](Epoch) { return false; });
  if (!victim) return Bad("the store is full and nobody can be given up");
  if (!Check(store_->GiveUp(*victim), "give up")) return false;
  staged_[*victim].ok = false;
  store_->ReleaseGivenUp(*victim);
  return CommitAll();
}

bool Simulation::WriteOrigin() {
  const uint64_t chunk = Random(options_.origin_chunks);
  const uint64_t value = next_value_++;
  if (kernel_live_ == 0 || copied_[chunk]) {
    if (!WriteChunk(origin_, chunk, value)) return false;
    origin_now_[chunk] = value;
    return true;
  }
  for (Report& report : reports_)
    if (report.snapshot == 0 && report.chunk == chunk) {  // joins the pending copy
      report.value = value;
      return true;
    }
  if (!NeedGrant()) return false;
  if (kernel_live_ == 0) return true;  // all were given up meanwhile: not written at all
  const uint64_t address = granted_.front();
  granted_.pop_front();
  uint64_t old = 0;
  if (!ReadChunk(origin_, chunk, &old) || !WriteChunk(store_device_, address, old)) return false;
  if (!Check(store_->RecordCopy(chunk, 1, address), "record copy")) return false;
  reports_.push_back({0, chunk, address, value});
  flush_needed_ = true;
  return true;
}

bool Simulation::WriteSnapshot() {
  const auto snapshot = PickSnapshot();
  if (!snapshot) return true;
  const uint64_t chunk = Random(options_.origin_chunks);
  const uint64_t value = next_value_++;
  // What is under way for this chunk is answered first, as the kernel does.
  if (!CommitAll()) return false;
  if (!NeedGrant()) return false;
  const Snapshot* snap = store_->FindEpoch(*snapshot);
  if (snap == nullptr || snap->state != Snapshot::State::kOk) return true;
  auto runs = store_->Lookup(*snapshot, chunk, 1, 1);
  if (!runs) return Check(std::unexpected(runs.error()), "lookup");
  if (runs->front().kind == Run::Kind::kPrivate) {
    // In place, and flushed, so that the model knows what a power cut leaves.
    if (!WriteChunk(store_device_, runs->front().address, value)) {
      torn_ = {*snapshot, chunk};  // as on any disk: its user was not told that it is done
      return false;
    }
    staged_[*snapshot].contents[chunk] = value;
    if (!FlushDevice(store_device_)) return false;
    committed_ = staged_;
    return true;
  }
  const uint64_t address = granted_.front();
  granted_.pop_front();
  if (!WriteChunk(store_device_, address, value)) return false;
  if (!Check(store_->RecordPrivate(*snapshot, chunk, 1, address), "record private")) return false;
  staged_[*snapshot].contents[chunk] = value;
  reports_.push_back({*snapshot, chunk, address, value});
  flush_needed_ = true;
  return true;
}

// Commit, and what the acknowledgement lets go.
bool Simulation::CommitAll() {
  if (!Check(store_->Commit(flush_needed_), "commit")) return false;
  committed_ = staged_;
  kernel_live_ = store_->live();
  // Copies made before the flush that ended a commit need none of their own;
  // a lone device only.
  flush_needed_ = meta_ != nullptr;
  const std::vector<Report> acknowledged = std::move(reports_);
  reports_.clear();
  for (const Report& report : acknowledged) {
    if (report.snapshot != 0) continue;
    copied_[report.chunk] = true;
    if (!WriteChunk(origin_, report.chunk, report.value)) return false;
    origin_now_[report.chunk] = report.value;
  }
  return true;
}

// ---- snapshots

std::optional<Epoch> Simulation::PickSnapshot() {
  std::vector<Epoch> ok;
  for (const auto& [epoch, snap] : staged_)
    if (snap.ok) ok.push_back(epoch);
  if (ok.empty()) return std::nullopt;
  return ok[Random(ok.size())];
}

bool Simulation::CreateSnapshot() {
  if (staged_.size() >= options_.max_snapshots) return DeleteSnapshot();
  // The barrier: nothing in flight, the origin flushed.
  if (!CommitAll() || !FlushDevice(origin_)) return false;
  Tag tag = static_cast<Tag>(Random(1000));
  while (store_->Find(tag) != nullptr) ++tag;
  auto epoch = store_->Create(tag, 1);
  if (!epoch) return Check(std::unexpected(epoch.error()), "create");
  staged_[*epoch] = {tag, true, 0, origin_now_};
  if (!CommitAll()) return false;
  std::fill(copied_.begin(), copied_.end(), false);
  return true;
}

bool Simulation::DeleteSnapshot() {
  if (staged_.empty()) return true;
  auto it = staged_.begin();
  std::advance(it, Random(staged_.size()));
  if (!Check(store_->Delete(it->first), "delete")) return false;
  staged_.erase(it);
  return true;
}

bool Simulation::GiveUpSnapshot() {
  const auto snapshot = PickSnapshot();
  if (!snapshot) return true;
  if (!Check(store_->GiveUp(*snapshot), "give up")) return false;
  staged_[*snapshot].ok = false;
  store_->ReleaseGivenUp(*snapshot);
  return true;
}

bool Simulation::ChangePriority() {
  const auto snapshot = PickSnapshot();
  if (!snapshot) return true;
  const auto priority = static_cast<int8_t>(Random(200)) ;
  const int8_t bounded = priority == 127 ? 126 : priority;
  if (!Check(store_->SetPriority(*snapshot, bounded), "priority")) return false;
  staged_[*snapshot].priority = bounded;
  return true;
}

bool Simulation::Background() {
  auto more = store_->Step();
  if (!more) return Check(std::unexpected(more.error()), "step");
  return true;
}

bool Simulation::StepOnce() {
  ++steps_;
  const uint64_t dice = Random(1000);
  if (dice < 560) return WriteOrigin();
  if (dice < 640) return WriteSnapshot();
  if (dice < 800) return CommitAll();
  if (dice < 920) return Background();
  if (dice < 955) return CreateSnapshot();
  if (dice < 980) return DeleteSnapshot();
  if (dice < 985) return GiveUpSnapshot();
  if (dice < 995) return ChangePriority();
  return RestartServer();
}

bool Simulation::RestartServer() {
  // Killed: what was staged is gone from memory, what was written is not.
  store_.reset();
  staged_ = committed_;
  return OpenStore() && Relink();
}

bool Simulation::RecoverFromKill() {
  store_.reset();
  power_.On();
  if (!OpenStore() || !CheckSound()) return false;
  // No bit outlives a snapshot that the kernel did not see made.
  std::fill(copied_.begin(), copied_.end(), false);
  std::string first;
  std::string second;
  if (Matches(committed_, &first)) {
    staged_ = committed_;
    return true;
  }
  if (!Matches(staged_, &second))
    return Bad("after a kill: not as at the last commit (" + first +
               ") nor as at the one under way (" + second + ")");
  committed_ = staged_;
  return true;
}

// HELLO: it reports again what was not answered, and gives back the rest.
bool Simulation::Relink() {
  const std::vector<Report> again = std::move(reports_);
  reports_.clear();
  for (const Report& report : again) {
    const Status s = report.snapshot == 0
                         ? store_->RecordCopy(report.chunk, 1, report.address)
                         : store_->RecordPrivate(report.snapshot, report.chunk, 1, report.address);
    if (!Check(s, "report again")) return false;
    if (report.snapshot != 0 && staged_.contains(report.snapshot) && staged_[report.snapshot].ok)
      staged_[report.snapshot].contents[report.chunk] = report.value;
    reports_.push_back(report);
  }
  granted_.clear();
  return Check(store_->ReturnAllGrants(), "return all") && CommitAll();
}

bool Simulation::RecoverFromPowerCut() {
  store_.reset();
  power_.On();
  origin_.Settle(random_);
  store_device_.Settle(random_);
  if (meta_) meta_->Settle(random_);
  ++boot_id_[0];
  reports_.clear();
  granted_.clear();
  if (!OpenStore()) return false;
  // Released writes that were not flushed may be lost: the origin is what it is.
  for (uint64_t chunk = 0; chunk < options_.origin_chunks; ++chunk)
    if (!ReadChunk(origin_, chunk, &origin_now_[chunk])) return false;
  std::fill(copied_.begin(), copied_.end(), false);
  if (torn_ && !AdoptTorn()) return false;
  if (!CheckSound()) return false;
  std::string first;
  std::string second;
  if (Matches(committed_, &first)) {
    staged_ = committed_;
    return true;
  }
  if (!Matches(staged_, &second))
    return Bad("after recovery: not as at the last commit (" + first +
               ") nor as at the one under way (" + second + ")");
  committed_ = staged_;
  return true;
}

// The checker reads what recovery has made of the disk so far.
bool Simulation::CheckSound() {
  auto report = CheckStore(store_device_, meta_.get());
  if (!report) return Check(std::unexpected(report.error()), "check");
  if (report->sound()) return true;
  const Damage& damage = report->damages.front();
  return Bad("check: " + damage.where + ": " + damage.what + " and " +
             std::to_string(report->damages.size() - 1) + " more");
}

// The model takes what the disk made of the one write that was cut short.
bool Simulation::AdoptTorn() {
  const auto [snapshot, chunk] = *torn_;
  torn_.reset();
  auto run = store_->Lookup(snapshot, chunk, 1, 1);
  if (!run) return Check(std::unexpected(run.error()), "lookup");
  if (run->front().kind != Run::Kind::kPrivate) return Bad("a private chunk is lost");
  uint64_t value = 0;
  if (!ReadChunk(store_device_, run->front().address, &value)) return false;
  committed_[snapshot].contents[chunk] = value;
  staged_[snapshot].contents[chunk] = value;
  return true;
}

// ---- comparison

bool Simulation::ContentsOf(Epoch snapshot, Contents* out) {
  out->assign(options_.origin_chunks, 0);
  auto runs = store_->Lookup(snapshot, 0, options_.origin_chunks, ~size_t{0});
  if (!runs) return Check(std::unexpected(runs.error()), "lookup");
  uint64_t next = 0;
  for (const Run& run : *runs) {
    if (run.chunk != next) return Bad("lookup: runs with a gap");
    next += run.count;
    for (uint64_t i = 0; i < run.count; ++i) {
      const bool here = run.kind == Run::Kind::kOrigin;
      if (!ReadChunk(here ? static_cast<BlockDevice&>(origin_) : store_device_,
                     here ? run.chunk + i : run.address + i, &(*out)[run.chunk + i]))
        return false;
    }
  }
  return next == options_.origin_chunks || Bad("lookup: runs that end early");
}

bool Simulation::Matches(const Model& model, std::string* why) {
  size_t found = 0;
  for (const Snapshot& snap : store_->snapshots()) {
    if (snap.state == Snapshot::State::kDeleting) continue;
    const auto it = model.find(snap.epoch);
    if (it == model.end()) {
      *why = "a snapshot too many: epoch " + std::to_string(snap.epoch);
      return false;
    }
    ++found;
    const ModelSnapshot& want = it->second;
    const bool ok = snap.state == Snapshot::State::kOk;
    if (snap.tag != want.tag || ok != want.ok || snap.priority != want.priority) {
      *why = "wrong record of epoch " + std::to_string(snap.epoch);
      return false;
    }
    Contents contents;
    if (!ok) continue;
    if (!ContentsOf(snap.epoch, &contents)) {
      *why = why_;
      return false;
    }
    for (uint64_t chunk = 0; chunk < contents.size(); ++chunk)
      if (contents[chunk] != want.contents[chunk]) {
        *why = "epoch " + std::to_string(snap.epoch) + " chunk " + std::to_string(chunk) +
               ": has " + std::to_string(contents[chunk]) + ", should have " +
               std::to_string(want.contents[chunk]);
        return false;
      }
  }
  if (found != model.size()) {
    *why = "a snapshot is missing";
    return false;
  }
  return true;
}

bool Simulation::Verify() {
  std::string why;
  if (!CommitAll()) return false;
  return (Matches(committed_, &why) || Bad(why)) && CheckSound();
}

}  // namespace ddsnap
