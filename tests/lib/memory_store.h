// SPDX-License-Identifier: GPL-2.0
// A SnapStore in plain maps, without a disk: what the server's tests serve, and
// small enough to be believed.  Nothing is durable; Commit can be made to fail.
#ifndef DDSNAP_TESTS_LIB_MEMORY_STORE_H_
#define DDSNAP_TESTS_LIB_MEMORY_STORE_H_

#include <chrono>
#include <map>
#include <set>

#include "store/snapstore.h"

namespace ddsnap::test {

class MemoryStore : public SnapStore {
 public:
  MemoryStore(uint64_t origin_chunks, uint64_t store_chunks);

  // ---- what a test looks at and arranges
  void TEST_FailCommits() { fail_commits_ = true; }
  // Every commit takes that long.
  void TEST_SlowCommits(std::chrono::milliseconds each) { slow_ = each; }
  // All free chunks wait for a Step, as those do that a checkpoint frees.
  void TEST_PinFree() { pinned_.merge(free_); }
  void TEST_SetAttached() { attached_ = true; }
  [[nodiscard]] unsigned TEST_commits() const { return commits_; }
  [[nodiscard]] bool TEST_last_flush() const { return last_flush_; }
  [[nodiscard]] size_t TEST_granted() const { return granted_.size(); }
  // Where the origin's chunk was kept under `label`; 0: nowhere.
  [[nodiscard]] uint64_t TEST_exception(uint64_t chunk, Epoch label) const;

  // ---- SnapStore
  const Uuid& uuid() const override { return uuid_; }
  uint32_t chunk_size() const override { return 4096; }
  uint64_t origin_size() const override { return origin_chunks_ * 4096; }
  uint64_t private_chunks(Epoch snapshot) const override {
    const auto begin = private_.lower_bound({snapshot, 0});
    return static_cast<uint64_t>(std::distance(begin, private_.lower_bound({snapshot + 1, 0})));
  }
  Epoch epoch() const override { return epoch_; }
  uint64_t live() const override;
  const std::vector<Snapshot>& snapshots() const override { return snapshots_; }
  const Snapshot* Find(Tag tag) const override;
  const Snapshot* FindEpoch(Epoch epoch) const override;
  StoreSpace space() const override { return {total_, free_.size(), 0, 0}; }
  Result<SnapshotSpace> SpaceOf(Epoch snapshot) override;
  bool attached() const override { return attached_; }
  const std::optional<Error>& failed() const override { return failed_; }
  Result<std::vector<Range>> Grant(uint64_t chunks) override;
  Status Return(const Range& range) override;
  Status ReturnAllGrants() override;
  Status RecordCopy(uint64_t chunk, uint64_t count, uint64_t address) override;
  Status RecordUnreadable(uint64_t chunk, uint64_t count, uint64_t address) override;
  Status RecordPrivate(Epoch snapshot, uint64_t chunk, uint64_t count, uint64_t address) override;
  Result<std::vector<Run>> Lookup(Epoch snapshot, uint64_t chunk, uint64_t count,
                                  size_t max_runs) override;
  Result<Epoch> Create(Tag tag, int64_t now_ns) override;
  Status Delete(Epoch snapshot) override;
  Status Bookmark(Epoch snapshot) override;
  Status GiveUp(Epoch snapshot) override;
  void ReleaseGivenUp(Epoch snapshot) override { released_.insert(snapshot); }
  std::optional<Epoch> VictimForSpace(const std::function<bool(Epoch)>& in_use) const override;
  Status SetPriority(Epoch snapshot, int8_t priority) override;
  Result<uint32_t> AddUsecount(Epoch snapshot, int32_t diff) override;
  Status SetAttached(bool attached) override;
  Epoch reverting() const override { return reverting_; }
  Status SetReverting(Epoch snapshot) override;
  Status SetOriginSize(uint64_t bytes) override;
  Status Changelist(Epoch from, Epoch to,
                    const std::function<bool(const ChunkRange&)>& sink) override;
  bool dirty() const override { return dirty_; }
  bool batch_full() const override { return false; }
  uint64_t commits() const override { return commits_; }
  Status Commit(bool flush_copies) override;
  Result<bool> Step() override;
  Status Checkpoint() override { return Commit(false); }
  Status Resize(uint64_t store_bytes, uint64_t meta_bytes) override;
  uint64_t store_size() const override { return total_ * 512; }  // tests count sectors so
  uint64_t meta_size() const override { return 0; }

 private:
  [[nodiscard]] Snapshot* At(Epoch epoch);
  [[nodiscard]] Status Stage();  // marks dirty, or returns why nothing can be staged
  [[nodiscard]] bool Any(Snapshot::State state, Epoch after, Epoch through) const;
  [[nodiscard]] uint64_t marks() const;
  [[nodiscard]] bool Holds(const Snapshot& snapshot) const;

  const Uuid uuid_ = {0xdd, 1};
  uint64_t origin_chunks_;
  uint64_t total_;
  Epoch epoch_ = 0;
  Epoch reverting_ = 0;
  std::vector<Snapshot> snapshots_;
  std::set<uint64_t> free_, granted_, pinned_;
  std::map<uint64_t, std::map<Epoch, uint64_t>> exceptions_;  // chunk, label: address
  std::map<std::pair<Epoch, uint64_t>, uint64_t> private_;
  std::set<Epoch> released_, freed_;
  bool attached_ = false;
  bool dirty_ = false;
  bool fail_commits_ = false;
  std::chrono::milliseconds slow_{0};
  bool last_flush_ = false;
  unsigned commits_ = 0;
  std::optional<Error> failed_;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_LIB_MEMORY_STORE_H_
