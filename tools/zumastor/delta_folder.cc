// SPDX-License-Identifier: GPL-2.0
#include "delta_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/uuid.h"
#include "repl/delta_stream.h"

namespace ddsnap {
namespace {

constexpr char kSuffix[] = ".delta";
constexpr char kWriterLock[] = "/.writer";
constexpr char kReaderLock[] = "/.reader";
constexpr char kDigits[] = "0123456789";
constexpr size_t kEpochDigits = 10;  // at least: so that names sort as epochs do

std::string Digits(Epoch epoch) {
  char text[24];
  std::snprintf(text, sizeof text, "%0*llu", static_cast<int>(kEpochDigits),
                static_cast<unsigned long long>(epoch));
  return text;
}

std::string NameOf(const std::optional<repl::SnapshotId>& base, const repl::SnapshotId& target) {
  return Digits(target.epoch) + (base ? "-from-" + Digits(base->epoch) : "-full") + kSuffix;
}

std::string Name(const repl::SnapshotId& id) {
  return repl::Describe(id) + " (epoch " + std::to_string(id.epoch) + ")";
}

bool IsDeltaName(const std::string& name) { return name[0] != '.' && name.ends_with(kSuffix); }

bool EndsWhole(const std::string& path) {
  struct End {
    repl::RawRecord head;
    repl::RawEnd body;
  } end;
  static_assert(alignof(End) == 1);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size < static_cast<off_t>(sizeof end)) return false;
  const ssize_t n = ::pread(fd.get(), &end, sizeof end, size - static_cast<off_t>(sizeof end));
  return n == static_cast<ssize_t>(sizeof end) && end.head.type == repl::kEnd &&
         end.head.body_size == sizeof end.body && end.head.payload_size == 0;
}

// Whether the name is one that a FileSink has before its Commit, for a delta of ours.
bool IsTemporaryName(const std::string& name) {
  const size_t dot = name.rfind('.');
  const std::string stem = name.substr(0, dot);
  const size_t dash = stem.find_first_not_of(kDigits);
  if (dot == std::string::npos || !stem.ends_with(kSuffix) || dash < kEpochDigits ||
      dash == std::string::npos || stem[dash] != '-') {
    return false;
  }
  const std::string suffix = name.substr(dot + 1);
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0; };
  if (suffix.empty() || !std::all_of(suffix.begin(), suffix.end(), plain)) return false;
  return suffix.size() == 6 || suffix.find_first_not_of(kDigits) == std::string::npos;
}

// A whole one with a suffix of letters may be somebody's copy.
bool IsLeftover(const std::string& dir, const std::string& name) {
  return IsTemporaryName(name) &&
         (name.find_first_not_of(kDigits, name.rfind('.') + 1) == std::string::npos ||
          !EndsWhole(dir + "/" + name));
}

Status SyncFolder(const std::string& dir) {
  const Fd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return FailErrno(errno, dir);
  return {};
}

Result<repl::StreamHead> ReadHead(const std::string& path) {
  auto source = repl::FileSource::Open(path);
  if (!source) return Pass(source);
  auto reader = repl::DeltaReader::Open(**source);
  if (!reader) return Pass(reader);
  const repl::StreamHead& head = reader->head().common;
  const bool ordered =
      head.base.none || (head.base.epoch != 0 && head.base.epoch < head.target.epoch);
  if (head.target.epoch == 0 || !ordered) {
    return Fail(EBADMSG, path + ": is no delta from a snapshot to a later one");
  }
  if (reader->head().begin != 0) return Fail(EBADMSG, path + ": is only a part of a delta");
  return head;
}

std::string Both(const DeltaFile& a, const DeltaFile& b) {
  return std::min(a.path, b.path) + " and " + std::max(a.path, b.path);
}

}  // namespace

bool DeltaFolder::IsUsed(const std::string& dir) {
  std::error_code error;
  if (std::filesystem::exists(dir + kWriterLock, error)) return true;
  std::filesystem::directory_iterator it(dir, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error))
    if (IsDeltaName(it->path().filename().string())) return true;
  return false;
}

Result<DeltaFolder> DeltaFolder::Open(const std::string& dir, const Uuid& volume) {
  DeltaFolder folder(dir, volume);
  if (Status s = folder.MakeFolder(); !s) return Pass(s);
  const std::string lock = dir + kWriterLock;
  folder.writer_.Reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!folder.writer_) return FailErrno(errno, lock);
  if (::flock(folder.writer_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FailErrno(errno, lock);
    return Fail(EBUSY, dir + ": in use: another process writes deltas there");
  }
  if (Status s = folder.RemoveLeftovers(); !s) return Pass(s);
  if (Status s = folder.Refresh(); !s) return Pass(s);
  return folder;
}

Result<DeltaFolder> DeltaFolder::OpenToRead(const std::string& dir) {
  DeltaFolder folder(dir, std::nullopt);
  const std::string lock = dir + kReaderLock;
  folder.reader_.Reset(::open(lock.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!folder.reader_ && errno == ENOENT) return FailErrno(ENOENT, dir);
  // Where no lock can be made, nobody removes files either.
  if (!folder.reader_) folder.reader_.Reset(::open(lock.c_str(), O_RDONLY | O_CLOEXEC));
  if (folder.reader_ && ::flock(folder.reader_.get(), LOCK_SH | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FailErrno(errno, lock);
    return Fail(EBUSY, dir + ": in use: old deltas are being removed there; try again");
  }
  if (Status s = folder.Refresh(); !s) return Pass(s);
  return folder;
}

// The folder above must be there: it may be of a file system that is not mounted.
Status DeltaFolder::MakeFolder() const {
  if (::mkdir(dir_.c_str(), 0700) == 0) {
    const std::filesystem::path parent =
        std::filesystem::path(dir_ + "/.").parent_path().parent_path();
    return SyncFolder(parent.empty() ? "." : parent.string());
  }
  if (errno != EEXIST) return FailErrno(errno, dir_);
  return {};
}

Result<std::vector<std::string>> DeltaFolder::Names() const {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(dir_, error);
  for (const std::filesystem::directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return FailErrno(error.value(), dir_);
  std::sort(names.begin(), names.end());
  return names;
}

Status DeltaFolder::RemoveLeftovers() const {
  auto names = Names();
  if (!names) return Pass(names);
  for (const std::string& name : *names) {
    const std::string path = dir_ + "/" + name;
    if (IsLeftover(dir_, name) && ::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return FailErrno(errno, path);
    }
  }
  return {};
}

Status DeltaFolder::Refresh() {
  auto names = Names();
  if (!names) return Pass(names);
  files_.clear();
  unusable_.clear();
  to_.clear();
  from_.clear();
  for (const std::string& name : *names) {
    if (IsDeltaName(name)) Look(dir_ + "/" + name);
  }
  std::stable_sort(files_.begin(), files_.end(), [](const DeltaFile& a, const DeltaFile& b) {
    return a.head.target.epoch < b.head.target.epoch;
  });
  for (size_t i = 0; i < files_.size(); ++i) {
    const repl::StreamHead& head = files_[i].head;
    to_.emplace(head.target.epoch, i);
    if (!head.base.none) from_.emplace(head.base.epoch, i);
  }
  return CheckVolume();
}

void DeltaFolder::Look(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    unusable_.push_back(FailErrno(errno, path).error().text);
    return;
  }
  if (!S_ISREG(st.st_mode)) return;
  auto head = ReadHead(path);
  if (!head) {
    unusable_.push_back(head.error().text);
    return;
  }
  files_.push_back({path, static_cast<uint64_t>(st.st_size), *head, EndsWhole(path)});
}

// Deltas of two volumes have epochs that mean nothing to each other.
Status DeltaFolder::CheckVolume() {
  std::map<Uuid, size_t> counts;
  for (const DeltaFile& file : files_) ++counts[file.head.volume];
  if (!wanted_) volume_.reset();
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (!volume_ && most != counts.end()) volume_ = most->first;
  for (const DeltaFile& file : files_) {
    if (file.head.volume == *volume_) continue;
    return Fail(EINVAL, file.path + ": is a delta of volume " + FormatUuid(file.head.volume) +
                            ", but " + dir_ + " is for volume " + FormatUuid(*volume_) +
                            ": each has a folder of its own");
  }
  return {};
}

std::vector<const DeltaFile*> DeltaFolder::Leading(Epoch target, bool whole, bool full) const {
  std::vector<const DeltaFile*> found;
  const auto [begin, end] = to_.equal_range(target);
  for (auto at = begin; at != end; ++at) {
    const DeltaFile& file = files_[at->second];
    if (file.whole == whole && file.head.base.none == full) found.push_back(&file);
  }
  return found;
}

// One that is cut off is taken only where there is nothing else: reading it says what it lacks.
Result<const DeltaFile*> DeltaFolder::LinkTo(const repl::SnapshotId& target) const {
  for (const bool whole : {true, false}) {
    for (const bool full : {true, false}) {
      const auto found = Leading(target.epoch, whole, full);
      if (found.empty()) continue;
      if (found.size() > 1) {
        return Fail(EEXIST, Both(*found[0], *found[1]) + " both make " + Name(target) +
                                ": move one of them away");
      }
      const repl::SnapshotId& made = found[0]->head.target;
      if (made.size != target.size || made.created_ns != target.created_ns) {
        return Fail(EEXIST, found[0]->path + ": makes another " + Name(target) +
                                " than the one that is needed");
      }
      return found[0];
    }
  }
  return Fail(ENOENT, "");
}

Status DeltaFolder::CheckFork(const DeltaFile& delta) const {
  const auto [begin, end] = from_.equal_range(delta.head.base.epoch);
  for (auto at = begin; at != end; ++at) {
    const DeltaFile& other = files_[at->second];
    if (!other.whole || other.path == delta.path) continue;
    return Fail(EEXIST, Both(delta, other) + " both go on from " + Name(delta.head.base) +
                            ": move one of them away");
  }
  return {};
}

Result<std::vector<DeltaFile>> DeltaFolder::ChainTo(const repl::SnapshotId& snapshot) const {
  std::vector<DeltaFile> chain;
  repl::SnapshotId wanted = snapshot;
  // Epochs descend: this ends.
  do {
    auto link = LinkTo(wanted);
    if (!link && link.error().code == ENOENT) {
      const std::string needed =
          chain.empty() ? std::string() : ", the base of " + chain.back().path;
      return Fail(ENOENT, dir_ + ": " + Name(snapshot) + " cannot be restored: no file makes " +
                              Name(wanted) + needed + Hint());
    }
    if (!link) return Pass(link);
    if (!(*link)->head.base.none) {
      if (Status s = CheckFork(**link); !s) return Pass(s);
    }
    chain.push_back(**link);
    wanted = (*link)->head.base;
  } while (!wanted.none);
  std::reverse(chain.begin(), chain.end());
  return chain;
}

// What is missing may be in a file that cannot be read.
std::string DeltaFolder::Hint() const {
  if (unusable_.empty()) return "";
  return "; " + unusable_.front() +
         (unusable_.size() > 1 ? " (and " + std::to_string(unusable_.size() - 1) + " more files)"
                               : "");
}

bool DeltaFolder::Restorable(const repl::SnapshotId& snapshot) const {
  const auto chain = ChainTo(snapshot);
  return chain && std::all_of(chain->begin(), chain->end(),
                              [](const DeltaFile& file) { return file.whole; });
}

std::vector<repl::SnapshotId> DeltaFolder::snapshots() const {
  std::vector<repl::SnapshotId> found;
  for (const DeltaFile& file : files_) {
    const repl::SnapshotId& target = file.head.target;
    if (!found.empty() && found.back().epoch == target.epoch) continue;
    if (Restorable(target)) found.push_back(target);
  }
  return found;
}

Result<repl::SnapshotId> DeltaFolder::WithTag(Tag tag) const {
  for (auto file = files_.rbegin(); file != files_.rend(); ++file) {
    if (file->head.target.tag == tag) return file->head.target;
  }
  return Fail(ENOENT, dir_ + ": holds no snapshot " + std::to_string(tag) + Hint());
}

Result<repl::SnapshotId> DeltaFolder::Latest() const {
  if (!unusable_.empty()) {
    return Fail(EBADMSG, unusable_.front() +
                             "; it may lead to the newest snapshot: say which one is wanted "
                             "(--tag), or move the file away");
  }
  if (files_.empty()) return Fail(ENOENT, dir_ + ": holds no deltas");
  return files_.back().head.target;
}

std::optional<repl::SnapshotId> DeltaFolder::newest() const {
  const auto held = snapshots();
  if (held.empty()) return std::nullopt;
  // Something goes on from there already, but leads nowhere: one more would be no better.
  const auto [begin, end] = from_.equal_range(held.back().epoch);
  for (auto at = begin; at != end; ++at) {
    if (files_[at->second].whole) return std::nullopt;
  }
  return held.back();
}

Result<std::unique_ptr<repl::FileSink>> DeltaFolder::Create(
    const std::optional<repl::SnapshotId>& base, const repl::SnapshotId& target) {
  if (!writer_) return Fail(EBADF, dir_ + ": was opened for reading");
  const auto held = newest();
  if (base && (!held || held->epoch != base->epoch)) {
    return Fail(ESTALE, dir_ + ": holds " + (held ? Name(*held) : "nothing to go on from") +
                            ", not " + Name(*base) + ", the base of the delta");
  }
  const bool newer = base ? target.epoch > base->epoch
                          : target.epoch != 0 && (!held || target.epoch >= held->epoch);
  if (!newer) {
    return Fail(EINVAL, dir_ + ": " + Name(target) + " is not newer than what is there");
  }
  return repl::FileSink::Create(dir_ + "/" + NameOf(base, target));
}

bool DeltaFolder::NeedsFull(size_t most) const {
  const auto held = newest();
  if (!held) return true;
  const auto chain = ChainTo(*held);
  return !chain || chain->size() - 1 >= most;
}

Result<size_t> DeltaFolder::Prune(size_t keep) {
  if (!writer_) return Fail(EBADF, dir_ + ": was opened for reading");
  const std::string path = dir_ + kReaderLock;
  const Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return FailErrno(errno, path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK ? Result<size_t>(0) : FailErrno(errno, path);
  }
  if (Status s = Refresh(); !s) return Pass(s);
  const auto held = snapshots();
  const size_t kept = std::min(held.size(), std::max<size_t>(keep, 1));
  if (kept == held.size()) return 0;
  const Epoch oldest = held[held.size() - kept].epoch;
  std::set<std::string> needed;
  for (size_t i = held.size() - kept; i < held.size(); ++i) {
    const auto chain = ChainTo(held[i]);
    if (!chain) return std::unexpected(chain.error());
    for (const DeltaFile& file : *chain) needed.insert(file.path);
  }
  size_t removed = 0;
  // The newest first: what a crash leaves is still a chain.
  for (auto file = files_.rbegin(); file != files_.rend(); ++file) {
    if (file->head.target.epoch >= oldest || needed.contains(file->path)) continue;
    if (::unlink(file->path.c_str()) != 0) return FailErrno(errno, file->path);
    ++removed;
  }
  if (Status s = SyncFolder(dir_); !s) return Pass(s);
  if (Status s = Refresh(); !s) return Pass(s);
  return removed;
}

}  // namespace ddsnap
