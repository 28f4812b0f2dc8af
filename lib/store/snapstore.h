// SPDX-License-Identifier: GPL-2.0
// The snapshot store of one volume: which snapshots exist, where each chunk's
// older contents are, what is free.  Metadata only: contents are moved by the
// kernel.  The format is doc/disk-format.md, the reasons doc/architecture.md.
//
// How changes become durable.  Every changing call (marked "staged") takes
// effect in memory at once and is appended to the open journal batch.  Nothing
// that depends on it may be told to anybody before Commit has returned:
// Commit flushes the store device where `flush_copies` asks for it, writes the
// batch to the journal, and flushes the journal.  After a crash the store
// is exactly as at some Commit: the last that returned, or the one under way.
//
// Failure.  When the journal or a metadata write fails the store is `failed()`:
// every later staged call and Commit return the first error; lookups go on.
//
// Thread rule: one thread.  Nothing here blocks but on device I/O.
#ifndef DDSNAP_STORE_SNAPSTORE_H_
#define DDSNAP_STORE_SNAPSTORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "io/block_device.h"

namespace ddsnap {

struct Range {  // of store chunks
  uint64_t address = 0;
  uint64_t count = 0;
  bool operator==(const Range&) const = default;
};

struct Run {  // consecutive chunks of a snapshot that are in the same place
  enum class Kind : uint8_t { kOrigin, kShared, kPrivate, kUnreadable };
  uint64_t chunk = 0;
  uint64_t count = 0;
  Kind kind = Kind::kOrigin;
  uint64_t address = 0;  // kShared and kPrivate: first store chunk
  bool operator==(const Run&) const = default;
};

inline constexpr uint32_t kMaxUsecount = 65535;

struct Snapshot {
  // A bookmark is the epoch of a snapshot that was: it has no contents, and serves changelists.
  enum class State : uint8_t { kOk, kGivenUp, kDeleting, kBookmark };
  Epoch epoch = 0;
  Tag tag = 0;
  State state = State::kOk;
  int8_t priority = 0;     // -128 given up first .. 127 never
  uint32_t usecount = 0;   // persistent part, set by users
  int64_t created_ns = 0;  // since 1970, UTC
  uint64_t size = 0;  // bytes of the origin at its creation; of a bookmark: at its smallest since

  // Whether changelists can tell what changed since.
  [[nodiscard]] bool is_base() const { return state == State::kOk || state == State::kBookmark; }
};

struct SnapshotSpace {    // in chunks of the store
  uint64_t chunks = 0;    // that hold contents of this snapshot
  uint64_t unshared = 0;  // of these: would be freed by its deletion
};

struct StoreSpace {
  uint64_t total_chunks = 0;
  uint64_t free_chunks = 0;     // grants count as used
  uint64_t metadata_bytes = 0;  // in use
  uint64_t metadata_free_bytes = 0;
};

struct FormatOptions {
  uint32_t chunk_size = 16384;  // bytes, power of two, 4 KiB .. 1 MiB
  uint64_t journal_size = 0;    // bytes; 0: chosen by store size
  uint64_t origin_size = 0;     // bytes
  Uuid uuid{};                  // all zero: made up
};

struct OpenOptions {
  uint64_t cache_bytes = 64 << 20;  // bound on cached metadata
  // Name of the running kernel instance.  Grants recorded under another name
  // are void, for no copy into them can still be under way.
  Uuid boot_id{};
  bool read_only = false;  // dump, check: replay in memory only
};

class SnapStore {
 public:
  // Writes an empty store.  `meta` may be null: metadata then shares `store`.
  // Overwrites whatever is there: asking first is the caller's duty.
  [[nodiscard]] static Status Format(BlockDevice& store, BlockDevice* meta,
                                     const FormatOptions& options);

  // True if a superblock of any version is recognizable on `device`.
  [[nodiscard]] static bool IsFormatted(BlockDevice& device);

  // Opens and recovers: loads the newest superblock and replays the journal.
  // The devices must outlive the store.  Fails with one line that says what
  // is damaged and where.
  [[nodiscard]] static Result<std::unique_ptr<SnapStore>> Open(BlockDevice& store,
                                                               BlockDevice* meta,
                                                               const OpenOptions& options);
  SnapStore(const SnapStore&) = delete;
  SnapStore& operator=(const SnapStore&) = delete;
  virtual ~SnapStore() = default;

  // ---- what there is
  [[nodiscard]] virtual const Uuid& uuid() const = 0;
  [[nodiscard]] virtual uint32_t chunk_size() const = 0;   // bytes
  [[nodiscard]] virtual uint64_t origin_size() const = 0;  // bytes
  // Chunks that were written to the snapshot itself; it must be there.
  [[nodiscard]] virtual uint64_t private_chunks(Epoch epoch) const = 0;
  [[nodiscard]] virtual Epoch epoch() const = 0;           // of the last created; monotonic
  // Snapshots in state kOk, and bookmarks: as long as there is one, the kernel must report first
  // writes.
  [[nodiscard]] virtual uint64_t live() const = 0;
  [[nodiscard]] virtual const std::vector<Snapshot>& snapshots() const = 0;  // by epoch
  [[nodiscard]] virtual const Snapshot* Find(Tag tag) const = 0;             // not kDeleting
  [[nodiscard]] virtual const Snapshot* FindEpoch(Epoch epoch) const = 0;
  [[nodiscard]] virtual StoreSpace space() const = 0;
  [[nodiscard]] virtual Result<SnapshotSpace> SpaceOf(Epoch snapshot) = 0;
  // True if a kernel of this boot is recorded as attached (see SetAttached).
  [[nodiscard]] virtual bool attached() const = 0;
  [[nodiscard]] virtual const std::optional<Error>& failed() const = 0;

  // ---- the kernel's requests
  // Staged.  Takes up to `chunks` free chunks as few ranges.  EAGAIN if there
  // are none yet but Step is about to free some; ENOSPC if there are none: see
  // VictimForSpace.  Granted chunks are not used for anything
  // else until recorded, returned or voided.
  [[nodiscard]] virtual Result<std::vector<Range>> Grant(uint64_t chunks) = 0;
  // Staged.  Gives back granted chunks.
  [[nodiscard]] virtual Status Return(const Range& range) = 0;
  // Staged.  All grants outstanding are free again.  To be called at the first
  // GRANT_WANTED after HELLO: by then the kernel has reported again what it had
  // copied, and has nothing in flight.
  [[nodiscard]] virtual Status ReturnAllGrants() = 0;
  // Staged.  The origin's chunks [chunk, chunk+count) were copied to granted
  // addresses from `address` on.  Idempotent: a chunk that needs no copy (any more) frees
  // the address if it is granted, and otherwise nothing happens.  EINVAL for a chunk that
  // needs a copy at an address that was not granted.
  [[nodiscard]] virtual Status RecordCopy(uint64_t chunk, uint64_t count, uint64_t address) = 0;
  // Staged.  The same for chunks whose old content could not be read.
  [[nodiscard]] virtual Status RecordUnreadable(uint64_t chunk, uint64_t count,
                                                uint64_t address) = 0;
  // Staged.  Private chunks of a snapshot, likewise.  A snapshot that is not
  // kOk: the addresses are freed.
  [[nodiscard]] virtual Status RecordPrivate(Epoch snapshot, uint64_t chunk, uint64_t count,
                                             uint64_t address) = 0;
  // Where [chunk, chunk+count) of a snapshot are: runs in order, without gaps,
  // at most `max_runs`, at least one.  ENOENT, or ESTALE for a given-up one.
  [[nodiscard]] virtual Result<std::vector<Run>> Lookup(Epoch snapshot, uint64_t chunk,
                                                        uint64_t count, size_t max_runs) = 0;

  // ---- snapshots
  // Staged.  EEXIST if the tag is in use.  The caller has drained and flushed
  // the origin (BARRIER, READY).  Returns the new epoch.
  [[nodiscard]] virtual Result<Epoch> Create(Tag tag, int64_t now_ns) = 0;
  // Staged.  State becomes kDeleting; Step frees the chunks.  The caller has
  // made sure that nothing reads the snapshot any more (DROP, DROPPED).
  [[nodiscard]] virtual Status Delete(Epoch snapshot) = 0;
  // Staged.  A snapshot becomes a bookmark, under its tag: what it alone keeps is freed by Step as
  // when it is deleted; which chunks changed since, and which it had of its own, stays known.  The
  // caller has made sure that nothing reads it.  EALREADY if it is one, ESTALE if it was given up,
  // EBUSY if the origin is being reverted to it.
  [[nodiscard]] virtual Status Bookmark(Epoch snapshot) = 0;
  // Staged.  State becomes kGivenUp at once; its chunks are freed by Step, but
  // not before ReleaseGivenUp says that nothing reads them any more.  The
  // entry stays until it is deleted.  A bookmark likewise.
  [[nodiscard]] virtual Status GiveUp(Epoch snapshot) = 0;
  virtual void ReleaseGivenUp(Epoch snapshot) = 0;
  // Who is to be given up when space is short.  Where metadata is, or where there are no snapshots,
  // a bookmark, whatever its priority: it must not cost a snapshot, nor an origin write.  (It has
  // no chunks of the store that could be freed.)  Else the lowest priority; of those unused before
  // used (`in_use`, or a persistent usecount), then the oldest; never priority 127, never one that
  // holds nothing in the store, never the one that the origin is being reverted to.  nullopt:
  // nobody.
  [[nodiscard]] virtual std::optional<Epoch> VictimForSpace(
      const std::function<bool(Epoch)>& in_use) const = 0;
  [[nodiscard]] virtual Status SetPriority(Epoch snapshot, int8_t priority) = 0;  // staged
  // Staged.  EOVERFLOW or ERANGE when the sum leaves 0 .. kMaxUsecount.
  [[nodiscard]] virtual Result<uint32_t> AddUsecount(Epoch snapshot, int32_t diff) = 0;
  // Staged.  Remembers, until the boot changes, that a kernel has the origin active.
  [[nodiscard]] virtual Status SetAttached(bool attached) = 0;
  // The snapshot that the origin is being brought back to; 0: none.  Until that is over
  // the origin holds neither its old contents nor the snapshot's: no snapshot is created (EBUSY),
  // and this one is neither deleted (EBUSY) nor given up for space.
  [[nodiscard]] virtual Epoch reverting() const = 0;
  // Staged.  Begins that, also instead of another snapshot that was begun with, or ends it
  // (0).  ENOENT or ESTALE for a snapshot that is not kOk.
  [[nodiscard]] virtual Status SetReverting(Epoch snapshot) = 0;
  // Staged.  The origin is larger or smaller from now on; snapshots keep their sizes.  EBUSY if
  // snapshots need chunks past the new end that are not copied yet.  The caller has made sure
  // that nothing is written there, and that no copy of an earlier size is on its way.
  [[nodiscard]] virtual Status SetOriginSize(uint64_t bytes) = 0;
  // The chunks that may differ between two snapshots or bookmarks, in order and merged, to
  // `sink` until it returns false.  `to` 0: the origin as it is now.  Costs what changed.
  [[nodiscard]] virtual Status Changelist(Epoch from, Epoch to,
                                          const std::function<bool(const ChunkRange&)>& sink) = 0;

  // ---- durability and background work
  [[nodiscard]] virtual bool dirty() const = 0;  // is there anything staged?
  // True when the open batch has grown so much that Commit should come before
  // anything else is staged.  Bounds what one batch takes of journal and memory.
  [[nodiscard]] virtual bool batch_full() const = 0;
  // How often this store was committed to since it was formatted; durable.  The same number at
  // two times: nobody has changed it in between.
  [[nodiscard]] virtual uint64_t commits() const = 0;
  // Makes everything staged durable.  `flush_copies`: flush the store device
  // first, because a staged record names a copy that was not completed before
  // the last Commit's flush began.
  [[nodiscard]] virtual Status Commit(bool flush_copies) = 0;
  // Does one bounded slice (milliseconds) of deletion or checkpointing.  Staged where it
  // changes anything.  Returns whether more work is waiting.
  [[nodiscard]] virtual Result<bool> Step() = 0;
  // Uses that much of the devices from now on, and returns when that is durable; 0: as it is.
  // Whatever is staged becomes durable first.  Larger: the device has grown before, and the kernel
  // has seen that.  Smaller (the store alone): EBUSY if chunks that lie beyond are in use.
  // EINVAL, EFBIG, ENOSPC: not possible, nothing has changed but that a metadata device may
  // have grown in memory; the next checkpoint makes that good.
  [[nodiscard]] virtual Status Resize(uint64_t store_bytes, uint64_t meta_bytes) = 0;
  [[nodiscard]] virtual uint64_t store_size() const = 0;  // bytes in use
  [[nodiscard]] virtual uint64_t meta_size() const = 0;   // 0 without a metadata device
  // Checkpoints completely: what a clean shutdown does.
  [[nodiscard]] virtual Status Checkpoint() = 0;

 protected:
  SnapStore() = default;
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_SNAPSTORE_H_
