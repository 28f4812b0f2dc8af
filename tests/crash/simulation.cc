// SPDX-License-Identifier: GPL-2.0
#include "simulation.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/checker.h"

namespace ddsnap {
namespace {

// How large an origin may become, times its first size.
constexpr uint64_t kOriginGrowth = 2;

}  // namespace

Simulation::Simulation(const Options& options)
    : options_(options),
      random_(options.seed),
      origin_(power_, kOriginGrowth * options.origin_chunks * options.chunk_size, "origin"),
      store_device_(power_, options.store_bytes, "store"),
      copied_(kOriginGrowth * options.origin_chunks),
      origin_now_(kOriginGrowth * options.origin_chunks),
      origin_chunks_(options.origin_chunks) {
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
  format.origin_size = origin_chunks_ * options_.chunk_size;
  for (size_t i = 0; i < format.uuid.size(); ++i) format.uuid[i] = static_cast<uint8_t>(i + 1);
  if (!Check(SnapStore::Format(store_device_, meta_.get(), format), "format")) return false;
  if (!OpenStore()) return false;
  fixed_chunks_ = store_->space().total_chunks - store_->space().free_chunks;
  return true;
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
    if (ranges.error().code != ENOSPC) return Check(std::unexpected(ranges.error()), "grant");
    if (!MakeSpace()) return false;
  }
  return Bad("grant: no progress");
}

bool Simulation::MakeSpace() {
  auto victim = store_->VictimForSpace([](Epoch) { return false; });
  if (!victim && staged_reverting_ != 0) {  // a revert keeps the only one
    if (!ToggleRevert()) return false;
    victim = store_->VictimForSpace([](Epoch) { return false; });
  }
  if (!victim) return Bad("the store is full and nobody can be given up");
  if (!Check(store_->GiveUp(*victim), "give up")) return false;
  staged_[*victim].ok = staged_[*victim].mark = false;
  store_->ReleaseGivenUp(*victim);
  return CommitAll();
}

bool Simulation::WriteOrigin() {
  const uint64_t chunk = Random(origin_chunks_);
  return WriteOriginAt(chunk, next_value_++);
}

bool Simulation::WriteOriginAt(uint64_t chunk, uint64_t value) {
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
  const uint64_t chunk = Random(staged_[*snapshot].contents.size());
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
  committed_reverting_ = staged_reverting_;
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
  if (staged_reverting_ != 0 && !ToggleRevert()) return false;
  // The barrier: nothing in flight, the origin flushed.
  if (!CommitAll() || !FlushDevice(origin_)) return false;
  Tag tag = static_cast<Tag>(Random(1000));
  while (store_->Find(tag) != nullptr) ++tag;
  auto epoch = store_->Create(tag, 1);
  if (!epoch) return Check(std::unexpected(epoch.error()), "create");
  staged_[*epoch] = {
      tag, true, false, 0,
      Contents(origin_now_.begin(), origin_now_.begin() + static_cast<int64_t>(origin_chunks_))};
  if (!CommitAll()) return false;
  std::fill(copied_.begin(), copied_.end(), false);
  return true;
}

bool Simulation::DeleteSnapshot() {
  if (staged_.empty()) return true;
  auto it = staged_.begin();
  std::advance(it, Random(staged_.size()));
  if (it->first == staged_reverting_) {
    const Status s = store_->Delete(it->first);
    return (!s && s.error().code == EBUSY) || power_.off() || Bad("a snapshot in need is deleted");
  }
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
  const auto priority = static_cast<int8_t>(Random(200));
  const int8_t bounded = priority == 127 ? 126 : priority;
  if (!Check(store_->SetPriority(*snapshot, bounded), "priority")) return false;
  staged_[*snapshot].priority = bounded;
  return true;
}

// ---- sizes, and reverts

bool Simulation::ToggleRevert() {
  Epoch next = 0;
  if (staged_reverting_ == 0) {
    const auto snapshot = PickSnapshot();
    if (!snapshot) return true;
    next = *snapshot;
  }
  if (!Check(store_->SetReverting(next), "revert")) return false;
  staged_reverting_ = next;
  return true;
}

bool Simulation::ChangeSize() {
  const uint64_t store = store_->store_size(), meta = store_->meta_size();
  const uint64_t least = options_.store_bytes / 2;
  switch (Random(4)) {
    case 0: {
      const uint64_t most = options_.store_bytes * options_.growth;
      if (store >= most) return true;
      const uint64_t kind = Random(3);
      const uint64_t more = kind == 0   ? Random(9) * options_.chunk_size
                            : kind == 1 ? Random(most - store)
                                        : most - store;
      return ResizeStore(std::min(store + more, most) / 512 * 512, 0, 0);
    }
    case 1:
      return store <= least || ResizeStore((least + Random(store - least)) / 512 * 512, 0, 1);
    case 2:
      if (!meta_ || meta >= options_.meta_bytes * options_.growth) return true;
      return ResizeStore(0, meta + Random(options_.meta_bytes * options_.growth - meta), 2);
    default:
      return Random(2) == 0 ? GrowOrigin() : ShrinkOrigin();
  }
}

// A device grows before the store does, and becomes smaller after it.
bool Simulation::ResizeStore(uint64_t store_bytes, uint64_t meta_bytes, size_t kind) {
  if (!CommitAll()) return false;
  if (store_bytes > store_device_.size()) store_device_.SetSize(store_bytes);
  if (meta_ && meta_bytes > meta_->size()) meta_->SetSize(meta_bytes);
  const uint64_t before[] = {store_->store_size(), store_->meta_size()};
  const Status s = store_->Resize(store_bytes, meta_bytes);
  if (power_.off()) return false;
  if (!s) {
    if (store_->failed()) return Check(s, "resize");
    const int code = s.error().code;
    // Chunks in use at the end, or a space map that was made for less.
    const bool may = kind == 1 ? code == EBUSY : code == EFBIG || code == ENOSPC;
    return may || Check(s, "resize");
  }
  if (store_bytes != 0 && store_->store_size() != store_bytes) return Bad("resize: without effect");
  if (kind == 1) {
    for (const uint64_t address : granted_)
      if ((address + 1) * options_.chunk_size > store_bytes) return Bad("a grant is cut off");
    store_device_.SetSize(store_bytes);
  }
  if (store_->store_size() != before[0] || store_->meta_size() != before[1]) ++resized_[kind];
  return CheckSound();
}

bool Simulation::GrowOrigin() {
  const uint64_t chunks = origin_chunks_ + 1 + Random(16);
  if (chunks > origin_now_.size()) return true;
  if (!CommitAll()) return false;
  if (!Check(store_->SetOriginSize(chunks * options_.chunk_size), "grow the origin")) return false;
  if (!CommitAll()) return false;
  origin_chunks_ = chunks;
  ++resized_[3];
  return true;
}

// What snapshots need of its end is copied by writing it again; then it is gone.
bool Simulation::ShrinkOrigin() {
  const uint64_t chunks = origin_chunks_ - 1 - Random(16);
  if (chunks < options_.origin_chunks / 2 || chunks > origin_chunks_) return true;
  if (!CommitAll()) return false;
  for (uint64_t chunk = chunks; chunk < origin_chunks_; ++chunk)
    if (!WriteOriginAt(chunk, origin_now_[chunk])) return false;
  if (!CommitAll()) return false;
  const Status s = store_->SetOriginSize(chunks * options_.chunk_size);
  // What a revert has still to write is not cut off.
  if (staged_reverting_ != 0 && staged_[staged_reverting_].contents.size() > chunks)
    return (!s && s.error().code == EBUSY) || power_.off() || Bad("a revert's goal is cut off");
  if (!Check(s, "shrink the origin")) return false;
  for (auto& [epoch, snap] : staged_)
    if (snap.mark && snap.contents.size() > chunks) snap.contents.resize(chunks);
  if (!CommitAll()) return false;
  for (uint64_t chunk = chunks; chunk < origin_chunks_; ++chunk) {
    if (!WriteChunk(origin_, chunk, next_value_)) return false;
    origin_now_[chunk] = next_value_++;
  }
  origin_chunks_ = chunks;
  ++resized_[3];
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
  if (dice < 10) return ChangeSize();
  if (dice < 560) return WriteOrigin();
  if (dice < 640) return WriteSnapshot();
  if (dice < 800) return CommitAll();
  if (dice < 920) return Background();
  if (dice < 955) return CreateSnapshot();
  if (dice < 972) return DeleteSnapshot();
  if (dice < 982) return BookmarkSnapshot();
  if (dice < 985) return GiveUpSnapshot();
  if (dice < 989) return ChangePriority();
  if (dice < 995) return ToggleRevert();
  return RestartServer();
}

bool Simulation::RestartServer() {
  // Killed: what was staged is gone from memory, what was written is not.
  store_.reset();
  staged_ = committed_;
  staged_reverting_ = committed_reverting_;
  return OpenStore() && Relink();
}

bool Simulation::RecoverFromKill() {
  store_.reset();
  power_.On();
  if (!OpenStore() || !CheckSound()) return false;
  // No bit outlives a snapshot that the kernel did not see made.
  std::fill(copied_.begin(), copied_.end(), false);
  return AdoptRecovered("a kill");
}

// It is as at the last commit, or as at the one under way.
bool Simulation::AdoptRecovered(const char* after) {
  origin_chunks_ = store_->origin_size() / options_.chunk_size;
  std::string first;
  std::string second;
  if (Matches(committed_, committed_reverting_, &first)) {
    staged_ = committed_;
    staged_reverting_ = committed_reverting_;
    return true;
  }
  if (!Matches(staged_, staged_reverting_, &second))
    return Bad(std::string("after ") + after + ": not as at the last commit (" + first +
               ") nor as at the one under way (" + second + ")");
  committed_ = staged_;
  committed_reverting_ = staged_reverting_;
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
  ReleaseAllGivenUp();
  return Check(store_->ReturnAllGrants(), "return all") && CommitAll();
}

// Nobody reads them any more: what the server says to every store that it opens, when the link
// has settled or there is none.
void Simulation::ReleaseAllGivenUp() {
  for (const Snapshot& snapshot : store_->snapshots())
    if (snapshot.state == Snapshot::State::kGivenUp) store_->ReleaseGivenUp(snapshot.epoch);
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
  for (uint64_t chunk = 0; chunk < origin_now_.size(); ++chunk)
    if (!ReadChunk(origin_, chunk, &origin_now_[chunk])) return false;
  std::fill(copied_.begin(), copied_.end(), false);
  if (torn_ && !AdoptTorn()) return false;
  if (!CheckSound()) return false;
  ReleaseAllGivenUp();
  return AdoptRecovered("recovery");
}

// The checker reads what recovery has made of the disk so far.
bool Simulation::CheckSound() {
  auto report = CheckStore(store_device_, meta_.get());
  if (!report) return Check(std::unexpected(report.error()), "check");
  // The copy that was being written when the power went may be torn.
  std::erase_if(report->damages, [](const Damage& damage) {
    return damage.where == "superblock" && damage.severity == Damage::Severity::kMinor;
  });
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
  const uint64_t chunks = store_->FindEpoch(snapshot)->size / options_.chunk_size;
  out->assign(chunks, 0);
  auto runs = store_->Lookup(snapshot, 0, chunks, ~size_t{0});
  if (!runs) return Check(std::unexpected(runs.error()), "lookup");
  uint64_t next = 0;
  for (const Run& run : *runs) {
    if (run.chunk != next) return Bad("lookup: runs with a gap");
    next += run.count;
    const bool here = run.kind == Run::Kind::kOrigin;
    if (here && next > origin_chunks_) return Bad("lookup: on an origin that is gone");
    for (uint64_t i = 0; i < run.count; ++i) {
      if (!ReadChunk(here ? static_cast<BlockDevice&>(origin_) : store_device_,
                     here ? run.chunk + i : run.address + i, &(*out)[run.chunk + i]))
        return false;
    }
  }
  return next == chunks || Bad("lookup: runs that end early");
}

bool Simulation::Matches(const Model& model, Epoch reverting, std::string* why) {
  size_t found = 0;
  if (store_->reverting() != reverting) {
    *why = "a revert to epoch " + std::to_string(store_->reverting()) + ", not " +
           std::to_string(reverting);
    return false;
  }
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
    const bool mark = snap.state == Snapshot::State::kBookmark;
    if (snap.tag != want.tag || ok != want.ok || mark != want.mark ||
        snap.priority != want.priority) {
      *why = "wrong record of epoch " + std::to_string(snap.epoch);
      return false;
    }
    Contents contents;
    if (mark && !TellsChanges(snap.epoch, want, model, why)) return false;
    if (!ok) continue;
    if (!ContentsOf(snap.epoch, &contents)) {
      *why = why_;
      return false;
    }
    if (contents.size() != want.contents.size()) {
      *why = "wrong size of epoch " + std::to_string(snap.epoch);
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
  return (Matches(committed_, committed_reverting_, &why) || Bad(why)) && CheckSound();
}

}  // namespace ddsnap
