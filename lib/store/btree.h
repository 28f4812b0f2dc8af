// SPDX-License-Identifier: GPL-2.0
// A copy-on-write B+tree of fixed-size entries: a key of two integers, a value of
// 0 to 6.  Nodes are described in doc/disk-format.md.
//
// A node that is read is checked whole before anything of it is used: the common
// header by the cache, tree, level, count and the order of keys here.
#ifndef DDSNAP_STORE_BTREE_H_
#define DDSNAP_STORE_BTREE_H_

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/status.h"
#include "store/superblock.h"
#include "store/transaction.h"

namespace ddsnap {

struct Key {
  uint64_t major = 0;
  uint64_t minor = 0;
  auto operator<=>(const Key&) const = default;
};
using Value = std::array<uint64_t, 6>;
struct Entry {
  Key key;
  Value value{};
};

class BTree {
 public:
  BTree(Transaction& transaction, disk::TreeId id, const TreeRoot& root)
      : tx_(transaction), id_(id), words_(disk::kValueWords[id]), root_(root) {}

  [[nodiscard]] const TreeRoot& root() const { return root_; }
  [[nodiscard]] uint64_t size() const { return root_.entries; }

  [[nodiscard]] Result<std::optional<Value>> Get(Key key);
  // The last entry with a key <= `key`, the first with a key >= `key`.
  [[nodiscard]] Result<std::optional<Entry>> Floor(Key key);
  [[nodiscard]] Result<std::optional<Entry>> Ceil(Key key);
  // Adds or replaces.
  [[nodiscard]] Status Put(Key key, const Value& value);
  // Returns whether the key was there.
  [[nodiscard]] Result<bool> Erase(Key key);

  // All entries with keys >= `from`, in order, until `visit` returns false. The
  // tree must not be changed meanwhile.
  using Visitor = std::function<bool(const Entry&)>;
  [[nodiscard]] Status Scan(Key from, const Visitor& visit);

  // Reports every node, parents first: for the checker.
  using NodeVisitor = std::function<void(uint64_t block, uint32_t level, uint32_t count)>;
  [[nodiscard]] Status Walk(const NodeVisitor& node, const Visitor& entry,
                            const std::function<void(const Error&)>& damage);

 private:
  struct Split {
    Key key;
    uint64_t block = 0;
  };
  struct Inserted {
    uint64_t block = 0;
    std::optional<Split> split;
    bool added = false;
  };
  struct Erased {
    uint64_t block = 0;  // 0: the node is gone
    bool found = false;
    uint32_t count = 0;
  };

  [[nodiscard]] Result<BlockCache::Ref> Load(uint64_t block, uint32_t level);
  [[nodiscard]] Result<BlockCache::Ref> Make(uint32_t level);
  [[nodiscard]] Result<Inserted> PutAt(uint64_t block, uint32_t level, Key key, const Value& value);
  [[nodiscard]] Result<std::optional<Split>> InsertEntry(BlockCache::Ref node, uint32_t level,
                                                         uint32_t at, const Entry& entry);
  [[nodiscard]] Result<Erased> EraseAt(uint64_t block, uint32_t level, Key key);
  [[nodiscard]] Status MergeChild(BlockCache::Ref& parent, uint32_t level, uint32_t at);
  [[nodiscard]] Result<bool> ScanAt(uint64_t block, uint32_t level, Key from,
                                    const Visitor& visit);
  void WalkAt(uint64_t block, uint32_t level, const NodeVisitor& node, const Visitor& entry,
              const std::function<void(const Error&)>& damage);

  Transaction& tx_;
  const disk::TreeId id_;
  const uint32_t words_;
  TreeRoot root_;
};

}  // namespace ddsnap

#endif  // DDSNAP_STORE_BTREE_H_
