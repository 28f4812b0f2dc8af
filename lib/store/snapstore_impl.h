// SPDX-License-Identifier: GPL-2.0
// The engine behind snapstore.h.  Every change is an Apply function that works on memory
// (trees, space maps, tables) and is the same when it is staged and when the
// journal is replayed; the public call checks its arguments, applies, and appends the
// record.  An error after the checks means damage or a dead device: the store is
// then failed for good, since memory may hold half a change.
#ifndef DDSNAP_STORE_SNAPSTORE_IMPL_H_
#define DDSNAP_STORE_SNAPSTORE_IMPL_H_

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/range_set.h"
#include "store/block_cache.h"
#include "store/btree.h"
#include "store/journal.h"
#include "store/snapstore.h"
#include "store/space_map.h"
#include "store/superblock.h"
#include "store/transaction.h"

namespace ddsnap {

inline constexpr uint64_t kNoAddress = ~uint64_t{0};  // of an exception whose content is lost
inline constexpr uint64_t kNotKept =
    ~uint64_t{0} - 1;  // whose content nobody needs: see reclaim.cc
[[nodiscard]] constexpr bool HasAddress(uint64_t address) { return address < kNotKept; }

class SnapStoreImpl final : public SnapStore {
 public:
  SnapStoreImpl(BlockDevice& store, BlockDevice* meta, const OpenOptions& options);
  [[nodiscard]] Status Recover();

  [[nodiscard]] const Uuid& uuid() const override { return super_.uuid; }
  [[nodiscard]] uint32_t chunk_size() const override { return super_.chunk_bytes; }
  [[nodiscard]] uint64_t origin_size() const override { return super_.origin_bytes; }
  [[nodiscard]] Epoch epoch() const override { return super_.epoch; }
  [[nodiscard]] uint64_t live() const override { return live_.size() + marks_.size(); }
  [[nodiscard]] const std::vector<Snapshot>& snapshots() const override { return snapshots_; }
  [[nodiscard]] const Snapshot* Find(Tag tag) const override;
  [[nodiscard]] const Snapshot* FindEpoch(Epoch epoch) const override;
  [[nodiscard]] StoreSpace space() const override;
  [[nodiscard]] Result<SnapshotSpace> SpaceOf(Epoch snapshot) override;
  [[nodiscard]] bool attached() const override { return super_.attached; }
  [[nodiscard]] const std::optional<Error>& failed() const override { return failed_; }

  [[nodiscard]] Result<std::vector<Range>> Grant(uint64_t chunks) override;
  [[nodiscard]] Status Return(const Range& range) override;
  [[nodiscard]] Status ReturnAllGrants() override;
  [[nodiscard]] Status RecordCopy(uint64_t chunk, uint64_t count, uint64_t address) override;
  [[nodiscard]] Status RecordUnreadable(uint64_t chunk, uint64_t count, uint64_t address) override;
  [[nodiscard]] Status RecordPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                     uint64_t address) override;
  [[nodiscard]] Result<std::vector<Run>> Lookup(Epoch snapshot, uint64_t chunk, uint64_t count,
                                                size_t max_runs) override;
  [[nodiscard]] Result<Epoch> Create(Tag tag, int64_t now_ns) override;
  [[nodiscard]] Status Delete(Epoch snapshot) override;
  [[nodiscard]] Status Bookmark(Epoch snapshot) override;
  [[nodiscard]] Status GiveUp(Epoch snapshot) override;
  void ReleaseGivenUp(Epoch snapshot) override { released_.insert(snapshot); }
  [[nodiscard]] std::optional<Epoch> VictimForSpace(
      const std::function<bool(Epoch)>& in_use) const override;
  [[nodiscard]] Status SetPriority(Epoch snapshot, int8_t priority) override;
  [[nodiscard]] Result<uint32_t> AddUsecount(Epoch snapshot, int32_t diff) override;
  [[nodiscard]] Status SetAttached(bool attached) override;
  [[nodiscard]] Epoch reverting() const override { return super_.reverting; }
  [[nodiscard]] Status SetReverting(Epoch snapshot) override;
  [[nodiscard]] Status SetOriginSize(uint64_t bytes) override;
  [[nodiscard]] Status Changelist(Epoch from, Epoch to,
                                  const std::function<bool(const ChunkRange&)>& sink) override;
  [[nodiscard]] bool dirty() const override { return !journal_->empty(); }
  [[nodiscard]] uint64_t commits() const override { return journal_->sequence(); }
  [[nodiscard]] bool batch_full() const override {
    return journal_->batch_blocks() > journal_->blocks() / 16 || tx_->made() > made_limit_;
  }
  [[nodiscard]] Status Commit(bool flush_copies) override;
  [[nodiscard]] Result<bool> Step() override;
  [[nodiscard]] Status Checkpoint() override;
  [[nodiscard]] Status Resize(uint64_t store_bytes, uint64_t meta_bytes) override;
  [[nodiscard]] uint64_t store_size() const override { return super_.store_bytes; }
  [[nodiscard]] uint64_t meta_size() const override {
    return super_.separate ? super_.meta_bytes : 0;
  }

  // ---- for the checker and the dumper, which read a store that is open read-only
  [[nodiscard]] BTree& tree(disk::TreeId id) { return *trees_[id]; }
  [[nodiscard]] SpaceMap& meta_map() { return *maps_[0]; }
  [[nodiscard]] SpaceMap& data_map() { return *maps_[1]; }
  [[nodiscard]] const Superblock& superblock() const { return super_; }
  [[nodiscard]] const RangeSet& grants() const { return grants_; }
  [[nodiscard]] const std::vector<Epoch>& live_epochs() const { return live_; }
  [[nodiscard]] const std::optional<Error>& superblock_damage() const { return other_super_; }
  [[nodiscard]] bool reclaimed(Epoch epoch) const { return extra_.at(epoch).reclaimed; }
  [[nodiscard]] uint64_t private_chunks(Epoch epoch) const override {
    return extra_.at(epoch).privates;
  }
  [[nodiscard]] bool HasChunk(Epoch epoch, uint64_t chunk) const {
    return chunk < Chunks(FindEpoch(epoch)->size);
  }

 private:
  struct Extra {  // what the snapshot's record holds beyond Snapshot
    uint64_t privates = 0;
    bool reclaimed = false;
  };
  struct Reclaim {  // progress of freeing one snapshot's chunks
    Epoch epoch = 0;
    Key next;
    bool privates = false;
  };
  struct ResizePlan {
    std::array<MapLayout, 2> maps;              // of blocks, of chunks: as they are to be
    std::array<MapLayout::Segment, 2> added{};  // the new segment of each; no pages: none
    void Grow(size_t i, uint64_t units, const MapLayout::Segment& segment) {
      maps[i].units = units;
      added[i] = segment;
      if (segment.pages > 0) maps[i].segments.push_back(segment);
    }
  };
  enum class Phase { kIdle, kBlocks, kMaps, kSuper };

  // recovery.cc
  [[nodiscard]] Status LoadTables();
  [[nodiscard]] Status ReplayJournal();
  [[nodiscard]] Status ApplyRecord(uint16_t type, uint16_t flags,
                                   std::span<const std::byte> payload);
  [[nodiscard]] Status ApplyNumber(uint16_t type, uint64_t key, uint64_t value);
  [[nodiscard]] Status NewBoot();
  [[nodiscard]] uint64_t MadeLimit(uint64_t blocks) const;

  // changes.cc
  [[nodiscard]] Status CheckWritable() const;
  [[nodiscard]] Status Poison(Status s);
  [[nodiscard]] Status CheckCopy(Epoch snapshot, uint64_t chunk, uint64_t count, uint64_t address);
  [[nodiscard]] Epoch NewestWith(const std::vector<Epoch>& holders, uint64_t chunk,
                                 Epoch before) const;
  [[nodiscard]] Status RaiseVersion();
  [[nodiscard]] Result<bool> NeedsCopy(uint64_t chunk);
  [[nodiscard]] Result<bool> NeedsPrivate(Epoch snapshot, uint64_t chunk);
  [[nodiscard]] Status RecordOrigin(disk::RecordType type, uint64_t chunk, uint64_t count,
                                    uint64_t address);
  [[nodiscard]] Status ApplyGrant(uint64_t address, uint64_t count, bool kept);
  [[nodiscard]] Status ApplyReturn(uint64_t address, uint64_t count);
  [[nodiscard]] Status ApplyReturnAll();
  [[nodiscard]] Status ApplyCopy(uint64_t chunk, uint64_t count, uint64_t address, bool unreadable);
  [[nodiscard]] Status CopyOne(uint64_t chunk, uint64_t address, bool unreadable);
  [[nodiscard]] Status ApplyPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                    uint64_t address);
  [[nodiscard]] Status ApplyCreate(const disk::Create& create);
  [[nodiscard]] Status ApplyState(Epoch snapshot, Snapshot::State state);
  [[nodiscard]] Status ApplyOriginSize(uint64_t bytes);
  [[nodiscard]] Status Unlive(Epoch snapshot);
  [[nodiscard]] Status AddSharing(Epoch lo, Epoch hi, uint64_t count);
  [[nodiscard]] Status PutSnapshot(Epoch snapshot);
  [[nodiscard]] Status FreeChunks(uint64_t address, uint64_t count, bool pin);
  [[nodiscard]] Snapshot* Mutable(Epoch epoch);
  // Applies and appends the record; `payload` is a struct or a span of them.
  template <typename T, typename F>
  [[nodiscard]] Status Change(disk::RecordType type, const T& payload, F&& apply) {
    if (Status s = apply(); !s) return Poison(std::move(s));
    journal_->Append(type, payload);
    space_known_ = false;
    return {};
  }

  // checkpoint.cc
  [[nodiscard]] bool NeedsCheckpoint() const;
  [[nodiscard]] Status StartCheckpoint();
  [[nodiscard]] Status AdvanceCheckpoint(size_t slice);
  [[nodiscard]] Status FinishCheckpoint();

  // reclaim.cc
  enum class Fate { kKeep, kStrip, kFree };
  [[nodiscard]] Status ReclaimSlice();
  [[nodiscard]] Status ReclaimExceptions(Reclaim& job);
  [[nodiscard]] Status ReclaimPrivates(Reclaim& job);
  [[nodiscard]] std::optional<Epoch> NextReclaim() const;
  [[nodiscard]] Epoch ReclaimEnd(Epoch snapshot) const;
  [[nodiscard]] Result<Fate> FateOf(uint64_t chunk, Epoch label);
  [[nodiscard]] bool AnyReadIn(Epoch after, Epoch through) const;
  // `keep`: entries stay, without an address.
  [[nodiscard]] Status ApplyFree(std::span<const disk::Exception> items, bool keep);
  [[nodiscard]] Status ApplyFreePrivate(std::span<const disk::Exception> items, bool keep);
  [[nodiscard]] Status ApplyReclaimed(Epoch snapshot);

  // resize.cc
  [[nodiscard]] Status CheckSizes(uint64_t store_bytes, uint64_t meta_bytes) const;
  [[nodiscard]] Result<uint64_t> PagesToAdd(const MapLayout& layout, uint64_t units) const;
  [[nodiscard]] bool LeavesReserve(const ResizePlan& plan) const;
  [[nodiscard]] Status PlanMetadata(uint64_t bytes, ResizePlan* plan) const;
  [[nodiscard]] Status PlanChunks(uint64_t chunks, ResizePlan* plan);
  [[nodiscard]] Result<std::optional<uint64_t>> FindBlocks(uint64_t count, const ResizePlan& plan);
  [[nodiscard]] Status CheckFree(uint64_t chunks);
  [[nodiscard]] Status Adopt(const ResizePlan& plan);
  [[nodiscard]] Status CheckTail(uint64_t bytes);
  [[nodiscard]] Result<uint64_t> CountWithout(Epoch label, uint64_t from, uint64_t to);

  // queries.cc
  [[nodiscard]] Status ComputeSpace() const;
  // The trees' reserve: what two generations of blocks may take, so that no
  // change of metadata fails for lack of space while chunks are still handed out.
  [[nodiscard]] static uint64_t Reserve(uint64_t made_limit) { return 2 * made_limit + 64; }
  [[nodiscard]] bool MetadataIsShort() const {
    return maps_[0]->available() <= Reserve(made_limit_);
  }
  [[nodiscard]] uint64_t GrantableChunks() const;
  [[nodiscard]] uint64_t Chunks(uint64_t bytes) const {
    return bytes / super_.chunk_bytes + (bytes % super_.chunk_bytes != 0);
  }
  [[nodiscard]] static bool AnyIn(const std::vector<Epoch>& holders, Epoch after, Epoch through);
  // The chunk's last exception with a label <= `label`.
  [[nodiscard]] Result<std::optional<Entry>> LastException(uint64_t chunk, Epoch label);

  BlockDevice& store_;
  BlockDevice& meta_;  // the same object as store_ without a metadata device
  const OpenOptions options_;
  Superblock super_;   // as it is now; roots and maps only as of the last durable one
  unsigned copy_ = 0;  // which copy is durable
  std::optional<Error> other_super_;
  std::array<bool, 2> old_copy_{};  // that copy on the disk says an earlier version
  std::unique_ptr<BlockCache> cache_;
  std::vector<std::unique_ptr<SpaceMap>> maps_;
  std::unique_ptr<Transaction> tx_;
  std::array<std::unique_ptr<BTree>, disk::kTrees> trees_;
  std::unique_ptr<Journal> journal_;
  std::vector<Snapshot> snapshots_;  // by epoch
  std::map<Epoch, Extra> extra_;
  std::vector<Epoch> live_;   // snapshots in state kOk, ascending
  std::vector<Epoch> marks_;  // bookmarks
  std::set<Epoch> dying_;     // given up, and not reclaimed
  RangeSet grants_;           // addresses
  std::set<Epoch> released_;
  std::optional<Reclaim> reclaim_;
  std::optional<Error> failed_;
  bool batch_has_copies_ = false;
  bool want_space_ = false;  // a grant failed for lack of space
  uint64_t made_limit_ = 0;  // blocks that one generation may make

  Phase phase_ = Phase::kIdle;
  Superblock next_super_;  // of the checkpoint under way

  mutable bool space_known_ = false;
  mutable std::map<Epoch, SnapshotSpace> space_;
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_SNAPSTORE_IMPL_H_
