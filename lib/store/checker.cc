// SPDX-License-Identifier: GPL-2.0
#include "store/checker.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

using Severity = Damage::Severity;

constexpr const char* kNobodyReads = "keeps content that nobody reads";

const char* TreeName(uint32_t id) {
  static const char* const names[disk::kTrees] = {"exceptions", "labels", "private chunks",
                                                  "sharing counts", "snapshots"};
  return names[id];
}

class Checker {
 public:
  Checker(SnapStoreImpl& store, const std::function<void(double)>& progress)
      : store_(store),
        progress_(progress),
        blocks_(store.meta_map().units()),
        chunks_(store.data_map().units()) {}

  Result<CheckReport> Run() {
    if (store_.superblock_damage())
      Add(Severity::kMinor, "superblock", store_.superblock_damage()->text, {});
    for (const Snapshot& snap : store_.snapshots())
      ++(snap.state == Snapshot::State::kBookmark ? report_.bookmarks : report_.snapshots);
    MarkFixed();
    for (uint32_t id = 0; id < disk::kTrees; ++id) {
      WalkTree(static_cast<disk::TreeId>(id));
      if (progress_) progress_(0.15 * (id + 1));
    }
    CompareIndexes();
    CompareSharing();
    ComparePrivates();
    CheckTags();
    if (const Epoch epoch = store_.reverting(); epoch != 0 && store_.FindEpoch(epoch) == nullptr)
      Add(Severity::kMinor, "superblock", "a revert to a snapshot that is not there", {});
    CompareMap(store_.meta_map(), blocks_, "block");
    CompareMap(store_.data_map(), chunks_, "chunk");
    if (progress_) progress_(1);
    return std::move(report_);
  }

 private:
  void Add(Severity severity, std::string where, std::string what, std::vector<Tag> tags) {
    if (report_.damages.size() == CheckReport::kMaxDamages) {
      ++report_.more;
      return;
    }
    report_.damages.push_back({severity, std::move(where), std::move(what), std::move(tags)});
  }

  // The snapshots that an exception with this range serves: its content is theirs.
  [[nodiscard]] std::vector<Tag> Served(Epoch after, Epoch through) const {
    std::vector<Tag> tags;
    for (const Epoch epoch : store_.live_epochs())
      if (epoch > after && epoch <= through) tags.push_back(store_.FindEpoch(epoch)->tag);
    return tags;
  }
  // Those and the bookmarks: that there is such an exception is what their changelists say.
  [[nodiscard]] std::vector<Tag> Told(Epoch after, Epoch through) const {
    std::vector<Tag> tags;
    for (const Snapshot& snap : store_.snapshots())
      if (snap.is_base() && snap.epoch > after && snap.epoch <= through) tags.push_back(snap.tag);
    return tags;
  }
  [[nodiscard]] std::vector<Tag> Everyone() const { return Told(0, ~Epoch{0}); }

  // What the empty store already uses, and what the kernel may be writing to.
  void MarkFixed() {
    const Superblock& super = store_.superblock();
    const uint64_t fixed = super.journal_block + super.journal_blocks;
    for (uint64_t i = 0; i < fixed && i < blocks_.size(); ++i) blocks_[i] = true;
    // Pages of maps that have grown.
    for (const MapLayout& map : super.maps)
      for (const auto& segment : map.segments)
        for (uint64_t i = 0; segment.block >= fixed && i < 2 * segment.pages; ++i)
          if (segment.block + i < blocks_.size()) blocks_[segment.block + i] = true;
    if (!super.separate) {
      const uint64_t area = blocks_.size() * disk::kBlock / super.chunk_bytes;
      for (uint64_t i = 0; i < area && i < chunks_.size(); ++i) chunks_[i] = true;
    }
    for (const auto& [start, end] : store_.grants().ranges())
      for (uint64_t i = start; i < end && i < chunks_.size(); ++i) chunks_[i] = true;
  }

  void WalkTree(disk::TreeId id) {
    BTree& tree = store_.tree(id);
    const std::string where = std::string("tree of ") + TreeName(id);
    std::optional<Key> last;
    uint64_t entries = 0;
    const auto node = [&](uint64_t block, uint32_t, uint32_t) {
      ++report_.tree_blocks;
      if (block >= blocks_.size()) {
        Add(Severity::kMajor, where, "block " + std::to_string(block) + " lies outside",
            Everyone());
      } else if (blocks_[block]) {
        Add(Severity::kMajor, where, "block " + std::to_string(block) + " is used twice",
            Everyone());
      } else {
        blocks_[block] = true;
      }
    };
    const auto entry = [&](const Entry& e) {
      if (last && !(*last < e.key))
        Add(Severity::kMajor, where,
            "keys out of order at (" + std::to_string(e.key.major) + ", " +
                std::to_string(e.key.minor) + ")",
            Everyone());
      last = e.key;
      ++entries;
      Visit(id, e);
      return true;
    };
    const auto damage = [&](const Error& error) {
      broken_[id] = true;
      Add(Severity::kMajor, where, error.text, TouchedBy(id));
    };
    if (Status s = tree.Walk(node, entry, damage); !s) damage(s.error());
    if (!broken_[id] && entries != tree.size())
      Add(Severity::kMinor, where,
          "has " + std::to_string(entries) + " entries, should have " + std::to_string(tree.size()),
          {});
  }

  [[nodiscard]] std::vector<Tag> TouchedBy(disk::TreeId id) const {
    if (id == disk::kSharing) return {};  // counts only
    if (id != disk::kPrivates) return Everyone();
    std::vector<Tag> tags;
    for (const Snapshot& snap : store_.snapshots())
      if (snap.is_base() && store_.private_chunks(snap.epoch) > 0) tags.push_back(snap.tag);
    return tags;
  }

  void Visit(disk::TreeId id, const Entry& e) {
    if (id == disk::kExceptions) {
      VisitException(e);
    } else if (id == disk::kPrivates) {
      ++report_.privates;
      ++privates_[e.key.major];
      const Snapshot* snap = store_.FindEpoch(e.key.major);
      std::vector<Tag> tags;
      if (snap != nullptr && snap->state == Snapshot::State::kOk) tags.push_back(snap->tag);
      if (snap == nullptr)
        Add(Severity::kMinor, "private chunk " + std::to_string(e.key.minor),
            "belongs to no snapshot", {});
      const std::string where = "private chunk " + std::to_string(e.key.minor);
      if (snap != nullptr && e.value[0] != kNotKept && IsStripped(*snap))
        Add(Severity::kMinor, where, kNobodyReads, {});
      if (e.value[0] != kNotKept) return UseChunk(e.value[0], where, tags);
      if (!tags.empty()) Add(Severity::kMajor, where, "has no content", tags);
    }
  }

  void VisitException(const Entry& e) {
    ++report_.exceptions;
    const auto [chunk, label] = e.key;
    const Epoch before = chunk == last_chunk_ ? last_label_ : 0;
    last_chunk_ = chunk;
    last_label_ = label;
    const std::string where =
        "exception of chunk " + std::to_string(chunk) + " under epoch " + std::to_string(label);
    const std::vector<Tag> tags = Served(before, label);
    if (label == 0 || label > store_.epoch())
      Add(Severity::kMajor, where, "an epoch that never was", Told(before, label));
    if (e.value[0] == kNotKept) return CheckNotKept(where, chunk, before, label);
    const auto& live = store_.live_epochs();
    const auto lo = std::upper_bound(live.begin(), live.end(), before);
    auto hi = std::upper_bound(live.begin(), live.end(), label);
    if (lo < hi) ++sharing_[{*lo, *std::prev(hi)}];
    if (e.value[0] == kNoAddress) return;
    if (StrippedAlone(before, label)) Add(Severity::kMinor, where, kNobodyReads, {});
    UseChunk(e.value[0], where, tags);
  }

  // A bookmark that holds no content any more.
  [[nodiscard]] bool IsStripped(const Snapshot& snap) const {
    return snap.state == Snapshot::State::kBookmark && store_.reclaimed(snap.epoch);
  }
  // Whether there are such bookmarks in the range, and nobody else.
  [[nodiscard]] bool StrippedAlone(Epoch after, Epoch through) const {
    bool any = false;
    for (const Snapshot& snap : store_.snapshots()) {
      if (snap.epoch <= after || snap.epoch > through) continue;
      if (!IsStripped(snap)) return false;
      any = true;
    }
    return any;
  }

  // Bookmarks alone may be left with an exception without content.
  void CheckNotKept(const std::string& where, uint64_t chunk, Epoch before, Epoch label) {
    std::vector<Tag> tags;
    for (const Epoch epoch : store_.live_epochs())
      if (epoch > before && epoch <= label && store_.HasChunk(epoch, chunk))
        tags.push_back(store_.FindEpoch(epoch)->tag);
    if (!tags.empty()) Add(Severity::kMajor, where, "has no content, but snapshots need it", tags);
  }

  void UseChunk(uint64_t address, const std::string& where, const std::vector<Tag>& tags) {
    if (address >= chunks_.size()) {
      Add(Severity::kMajor, where,
          "store chunk " + std::to_string(address) + " lies outside the store", tags);
    } else if (chunks_[address]) {
      Add(Severity::kMajor, where, "store chunk " + std::to_string(address) + " is used twice",
          tags);
    } else {
      chunks_[address] = true;
    }
  }

  void CompareIndexes() {
    if (broken_[disk::kExceptions] || broken_[disk::kLabels]) return;
    BTree& labels = store_.tree(disk::kLabels);
    BTree& exceptions = store_.tree(disk::kExceptions);
    if (labels.size() != exceptions.size())
      Add(Severity::kMajor, "tree of labels",
          "has " + std::to_string(labels.size()) + " entries for " +
              std::to_string(exceptions.size()) + " exceptions",
          Everyone());
    std::vector<Key> missing;
    (void)labels.Scan({}, [&](const Entry& e) {
      auto found = exceptions.Get({e.key.minor, e.key.major});
      if (!found || !*found) missing.push_back(e.key);
      return missing.size() < 100;
    });
    for (const Key& key : missing)
      Add(Severity::kMajor,
          "label " + std::to_string(key.major) + " of chunk " + std::to_string(key.minor),
          "there is no such exception", Told(0, key.major));
  }

  void CompareSharing() {
    if (broken_[disk::kExceptions] || broken_[disk::kSharing]) return;
    std::map<std::pair<Epoch, Epoch>, uint64_t> stored;
    (void)store_.tree(disk::kSharing).Scan({}, [&](const Entry& e) {
      if (e.value[0] != 0) stored[{e.key.major, e.key.minor}] = e.value[0];
      return true;
    });
    if (stored != sharing_)
      Add(Severity::kMinor, "tree of sharing counts", "differs from what the exceptions say", {});
  }

  void ComparePrivates() {
    if (broken_[disk::kPrivates]) return;
    for (const Snapshot& snap : store_.snapshots())
      if (store_.private_chunks(snap.epoch) != privates_[snap.epoch])
        Add(Severity::kMinor, "snapshot " + std::to_string(snap.tag),
            "has " + std::to_string(privates_[snap.epoch]) + " private chunks, should have " +
                std::to_string(store_.private_chunks(snap.epoch)),
            {snap.tag});
  }

  void CheckTags() {
    std::map<Tag, int> seen;
    for (const Snapshot& snap : store_.snapshots())
      if (snap.state != Snapshot::State::kDeleting && ++seen[snap.tag] == 2)
        Add(Severity::kMajor, "snapshot " + std::to_string(snap.tag), "exists twice", {snap.tag});
  }

  // Bits against references.  Runs are reported once.
  void CompareMap(SpaceMap& map, const std::vector<bool>& used, const char* unit) {
    const bool sure = !broken_[disk::kExceptions] && !broken_[disk::kPrivates] &&
                      std::none_of(broken_.begin(), broken_.end(), [](bool b) { return b; });
    int state = 0;  // 0 right, 1 leaked, 2 wrongly free
    uint64_t from = 0;
    for (uint64_t i = 0; i <= map.units(); ++i) {
      int now = 0;
      if (i < map.units()) {
        auto bit = map.Test(i);
        if (!bit) {
          Add(Severity::kMajor, std::string("space map of ") + unit + "s", bit.error().text,
              Everyone());
          return;
        }
        if (*bit != used[i]) now = *bit ? 1 : 2;
        if (now == 1 && !sure) now = 0;  // what a damaged tree refers to is not known
      }
      if (now == state) continue;
      if (state != 0)
        Add(state == 1 ? Severity::kMinor : Severity::kMajor,
            std::string("space map, ") + unit + "s " + std::to_string(from) + " to " +
                std::to_string(i - 1),
            state == 1 ? "marked as used, but nothing refers to them"
                       : "marked as free, but in use",
            state == 1 ? std::vector<Tag>() : Everyone());
      state = now;
      from = i;
    }
  }

  SnapStoreImpl& store_;
  const std::function<void(double)>& progress_;
  CheckReport report_;
  std::vector<bool> blocks_;  // referenced
  std::vector<bool> chunks_;
  std::array<bool, disk::kTrees> broken_{};
  std::map<std::pair<Epoch, Epoch>, uint64_t> sharing_;
  std::map<Epoch, uint64_t> privates_;
  uint64_t last_chunk_ = ~uint64_t{0};
  Epoch last_label_ = 0;
};

}  // namespace

Result<CheckReport> CheckStore(BlockDevice& store, BlockDevice* meta,
                               const std::function<void(double)>& progress) {
  OpenOptions options;
  options.read_only = true;
  options.cache_bytes = 256 << 20;
  SnapStoreImpl impl(store, meta, options);
  if (Status s = impl.Recover(); !s) {
    if (s.error().code != EBADMSG) return Pass(s);
    CheckReport report;
    report.damages.push_back({Severity::kFatal, "store", s.error().text, {}});
    for (const Snapshot& snap : impl.snapshots()) report.damages[0].tags.push_back(snap.tag);
    return report;
  }
  return Checker(impl, progress).Run();
}

}  // namespace ddsnap
