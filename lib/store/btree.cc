// SPDX-License-Identifier: GPL-2.0
#include "store/btree.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace ddsnap {
namespace {

using disk::kBlock;
constexpr uint32_t kHeader = sizeof(disk::NodeHeader);

// A node's bytes with names.  Entries of inner nodes are (key, child); the key is a
// lower bound of the child's keys, and that of entry 0 counts as minus infinity.
class Node {
 public:
  Node(std::byte* data, uint32_t words) : data_(data) {
    std::memcpy(static_cast<void*>(&header_), data, sizeof(header_));
    size_ = 16 + 8 * (header_.level > 0 ? 1 : words);
  }
  [[nodiscard]] uint32_t count() const { return header_.count; }
  [[nodiscard]] uint32_t level() const { return header_.level; }
  [[nodiscard]] const disk::NodeHeader& header() const { return header_; }
  [[nodiscard]] uint32_t capacity() const { return (kBlock - kHeader) / size_; }
  [[nodiscard]] Key key(uint32_t i) const { return {Load(i, 0), Load(i, 1)}; }
  [[nodiscard]] uint64_t child(uint32_t i) const { return Load(i, 2); }
  [[nodiscard]] Entry entry(uint32_t i) const {
    Entry e;
    e.key = key(i);
    for (uint32_t w = 0; w < size_ / 8 - 2; ++w) e.value[w] = Load(i, 2 + w);
    return e;
  }
  void set_count(uint32_t count) {
    header_.count = static_cast<uint16_t>(count);
    std::memcpy(data_, &header_, sizeof(header_));
  }
  void set_child(uint32_t i, uint64_t block) { Store(i, 2, block); }
  void set_entry(uint32_t i, const Entry& e) {
    Store(i, 0, e.key.major);
    Store(i, 1, e.key.minor);
    for (uint32_t w = 0; w < size_ / 8 - 2; ++w) Store(i, 2 + w, e.value[w]);
  }
  void Insert(uint32_t i, const Entry& e) {
    std::memmove(At(i + 1), At(i), size_t{count() - i} * size_);
    set_entry(i, e);
    set_count(count() + 1);
  }
  void Remove(uint32_t i) {
    std::memmove(At(i), At(i + 1), size_t{count() - i - 1} * size_);
    set_count(count() - 1);
  }
  void AppendFrom(const Node& from, uint32_t first) {
    std::memcpy(At(count()), from.At(first), size_t{from.count() - first} * size_);
    set_count(count() + from.count() - first);
  }
  // The first entry with a key >= `key`.
  [[nodiscard]] uint32_t LowerBound(Key key) const {
    uint32_t lo = 0;
    uint32_t hi = count();
    while (lo < hi) {
      const uint32_t mid = (lo + hi) / 2;
      if (this->key(mid) < key) {
        lo = mid + 1;
      } else {
        hi = mid;
      }
    }
    return lo;
  }
  // The child in whose range `key` falls.
  [[nodiscard]] uint32_t ChildFor(Key key) const {
    const uint32_t i = LowerBound(key);
    if (i < count() && this->key(i) == key) return i;
    return i == 0 ? 0 : i - 1;
  }

 private:
  [[nodiscard]] std::byte* At(uint32_t i) const { return data_ + kHeader + size_t{i} * size_; }
  [[nodiscard]] uint64_t Load(uint32_t i, uint32_t word) const {
    Le64 v;
    std::memcpy(static_cast<void*>(&v), At(i) + 8 * word, 8);
    return v;
  }
  void Store(uint32_t i, uint32_t word, uint64_t value) {
    const Le64 v = value;
    std::memcpy(At(i) + 8 * word, &v, 8);
  }

  std::byte* data_;
  disk::NodeHeader header_;
  uint32_t size_;
};

}  // namespace

Result<BlockCache::Ref> BTree::Load(uint64_t block, uint32_t level) {
  auto ref = tx_.Read(block);
  if (!ref || (*ref)->checked) return ref;
  const Node node((*ref)->data, words_);
  const std::string where = "tree block " + std::to_string(block);
  if (node.header().tree != id_ || node.level() != level ||
      node.header().value_words != words_)
    return Fail(EBADMSG, where + ": of another tree or level");
  if (node.count() == 0 || node.count() > node.capacity())
    return Fail(EBADMSG, where + ": impossible number of entries");
  for (uint32_t i = 1; i < node.count(); ++i)
    if (!(node.key(i - 1) < node.key(i))) return Fail(EBADMSG, where + ": keys out of order");
  (*ref)->checked = true;
  return ref;
}

Result<BlockCache::Ref> BTree::Make(uint32_t level) {
  auto ref = tx_.New();
  if (!ref) return ref;
  disk::NodeHeader header;
  std::memcpy(static_cast<void*>(&header), (*ref)->data, sizeof(header));
  header.tree = static_cast<uint16_t>(id_);
  header.level = static_cast<uint16_t>(level);
  header.count = uint16_t{0};
  header.value_words = static_cast<uint16_t>(words_);
  std::memcpy((*ref)->data, &header, sizeof(header));
  (*ref)->checked = true;
  return ref;
}

Result<std::optional<Value>> BTree::Get(Key key) {
  auto entry = Floor(key);
  if (!entry) return Pass(entry);
  if (!*entry || (*entry)->key != key) return std::nullopt;
  return (*entry)->value;
}

Result<std::optional<Entry>> BTree::Floor(Key key) {
  // Keys of inner nodes are lower bounds, so the wanted entry may be the last one
  // of the subtree before: remember that subtree on the way down.
  uint64_t block = root_.block;
  std::optional<uint64_t> before;
  uint32_t before_level = 0;
  for (uint32_t level = root_.height; level-- > 0;) {
    auto ref = Load(block, level);
    if (!ref) return Pass(ref);
    const Node node((*ref)->data, words_);
    if (level > 0) {
      const uint32_t i = node.ChildFor(key);
      if (i > 0) {
        before = node.child(i - 1);
        before_level = level - 1;
      }
      block = node.child(i);
      continue;
    }
    uint32_t i = node.LowerBound(key);
    if (i < node.count() && node.key(i) == key) return node.entry(i);
    if (i > 0) return node.entry(i - 1);
  }
  if (!before) return std::nullopt;
  block = *before;
  for (uint32_t level = before_level;; --level) {
    auto ref = Load(block, level);
    if (!ref) return Pass(ref);
    const Node node((*ref)->data, words_);
    if (level == 0) return node.entry(node.count() - 1);
    block = node.child(node.count() - 1);
  }
}

Result<std::optional<Entry>> BTree::Ceil(Key key) {
  std::optional<Entry> found;
  const Status s = Scan(key, [&](const Entry& entry) {
    found = entry;
    return false;
  });
  if (!s) return std::unexpected(s.error());
  return found;
}

Status BTree::Scan(Key from, const Visitor& visit) {
  if (root_.height == 0) return {};
  auto more = ScanAt(root_.block, root_.height - 1, from, visit);
  if (!more) return Pass(more);
  return {};
}

Result<bool> BTree::ScanAt(uint64_t block, uint32_t level, Key from, const Visitor& visit) {
  auto ref = Load(block, level);
  if (!ref) return Pass(ref);
  const Node node((*ref)->data, words_);
  uint32_t i = level > 0 ? node.ChildFor(from) : node.LowerBound(from);
  for (; i < node.count(); ++i) {
    if (level == 0) {
      if (!visit(node.entry(i))) return false;
      continue;
    }
    auto more = ScanAt(node.child(i), level - 1, from, visit);
    if (!more || !*more) return more;
  }
  return true;
}

Status BTree::Put(Key key, const Value& value) {
  if (root_.height == 0) {
    auto leaf = Make(0);
    if (!leaf) return Pass(leaf);
    Node((*leaf)->data, words_).Insert(0, {key, value});
    root_ = {(*leaf)->number, 1, 1};
    return {};
  }
  auto done = PutAt(root_.block, root_.height - 1, key, value);
  if (!done) return Pass(done);
  root_.block = done->block;
  if (done->added) ++root_.entries;
  if (!done->split) return {};
  auto top = Make(root_.height);
  if (!top) return Pass(top);
  Node node((*top)->data, words_);
  node.Insert(0, {Key{}, {done->block}});
  node.Insert(1, {done->split->key, {done->split->block}});
  root_.block = (*top)->number;
  ++root_.height;
  return {};
}

Result<BTree::Inserted> BTree::PutAt(uint64_t block, uint32_t level, Key key,
                                     const Value& value) {
  if (auto check = Load(block, level); !check) return Pass(check);
  auto ref = tx_.Shadow(block);
  if (!ref) return Pass(ref);
  (*ref)->checked = true;
  Node node((*ref)->data, words_);
  Inserted done{(*ref)->number, {}, false};
  if (level == 0) {
    const uint32_t i = node.LowerBound(key);
    if (i < node.count() && node.key(i) == key) {
      node.set_entry(i, {key, value});
      return done;
    }
    done.added = true;
    auto split = InsertEntry(*ref, level, i, {key, value});
    if (!split) return Pass(split);
    done.split = *split;
    return done;
  }
  const uint32_t i = node.ChildFor(key);
  auto below = PutAt(node.child(i), level - 1, key, value);
  if (!below) return Pass(below);
  node.set_child(i, below->block);
  done.added = below->added;
  if (below->split) {
    auto split = InsertEntry(*ref, level, i + 1, {below->split->key, {below->split->block}});
    if (!split) return Pass(split);
    done.split = *split;
  }
  return done;
}

// Inserts into a node that the caller has shadowed, splitting it if it is full.
// An entry that comes last leaves the old node full: writes in order make
// full nodes.
Result<std::optional<BTree::Split>> BTree::InsertEntry(BlockCache::Ref ref, uint32_t level,
                                                       uint32_t at, const Entry& entry) {
  Node node(ref->data, words_);
  if (node.count() < node.capacity()) {
    node.Insert(at, entry);
    return std::nullopt;
  }
  auto made = Make(level);
  if (!made) return Pass(made);
  Node right((*made)->data, words_);
  const uint32_t keep = at == node.count() ? node.count() : node.count() / 2;
  right.AppendFrom(node, keep);
  node.set_count(keep);
  if (at > keep || keep == at) {
    right.Insert(at - keep, entry);
  } else {
    node.Insert(at, entry);
  }
  return Split{right.key(0), (*made)->number};
}

Result<bool> BTree::Erase(Key key) {
  if (root_.height == 0) return false;
  auto there = Get(key);  // so that a miss shadows nothing
  if (!there) return Pass(there);
  if (!*there) return false;
  auto done = EraseAt(root_.block, root_.height - 1, key);
  if (!done) return Pass(done);
  if (!done->found) return Fail(EBADMSG, "tree: an entry that was found cannot be erased");
  --root_.entries;
  root_.block = done->block;
  if (root_.block == 0) {
    root_.height = 0;
    return true;
  }
  // A root with one child is one level too many.
  while (root_.height > 1) {
    auto ref = Load(root_.block, root_.height - 1);
    if (!ref) return Pass(ref);
    const Node node((*ref)->data, words_);
    if (node.count() > 1) break;
    const uint64_t child = node.child(0);
    if (Status s = tx_.Free(root_.block); !s) return Pass(s);
    root_.block = child;
    --root_.height;
  }
  return true;
}

Result<BTree::Erased> BTree::EraseAt(uint64_t block, uint32_t level, Key key) {
  if (auto check = Load(block, level); !check) return Pass(check);
  auto ref = tx_.Shadow(block);
  if (!ref) return Pass(ref);
  (*ref)->checked = true;
  Node node((*ref)->data, words_);
  Erased done{(*ref)->number, false, 0};
  if (level == 0) {
    const uint32_t i = node.LowerBound(key);
    if (i < node.count() && node.key(i) == key) {
      node.Remove(i);
      done.found = true;
    }
  } else {
    const uint32_t i = node.ChildFor(key);
    auto below = EraseAt(node.child(i), level - 1, key);
    if (!below) return Pass(below);
    done.found = below->found;
    if (below->block == 0) {
      node.Remove(i);
    } else {
      node.set_child(i, below->block);
      if (below->count < node.capacity() / 4)
        if (Status s = MergeChild(*ref, level, i); !s) return Pass(s);
    }
  }
  done.count = Node((*ref)->data, words_).count();
  if (done.count == 0) {
    if (Status s = tx_.Free(done.block); !s) return Pass(s);
    done.block = 0;
  }
  return done;
}

// Joins child `at` with a neighbour if both fit in one node.
Status BTree::MergeChild(BlockCache::Ref& parent, uint32_t level, uint32_t at) {
  Node node(parent->data, words_);
  if (node.count() < 2) return {};
  const uint32_t left = at > 0 ? at - 1 : 0;
  auto right_ref = Load(node.child(left + 1), level - 1);
  if (!right_ref) return Pass(right_ref);
  auto left_ref = Load(node.child(left), level - 1);
  if (!left_ref) return Pass(left_ref);
  if (Node((*left_ref)->data, words_).count() + Node((*right_ref)->data, words_).count() >
      Node((*left_ref)->data, words_).capacity() * 3 / 4)
    return {};
  auto into = tx_.Shadow(node.child(left));
  if (!into) return Pass(into);
  (*into)->checked = true;
  Node to((*into)->data, words_);
  const uint32_t first = to.count();
  to.AppendFrom(Node((*right_ref)->data, words_), 0);
  // The first key of an inner node counted as minus infinity; here it is an
  // ordinary one, and the parent's key for that node is its lower bound.
  if (level > 1) {
    Entry e = to.entry(first);
    e.key = node.key(left + 1);
    to.set_entry(first, e);
  }
  const uint64_t gone = node.child(left + 1);
  node.set_child(left, (*into)->number);
  node.Remove(left + 1);
  return tx_.Free(gone);
}

Status BTree::Walk(const NodeVisitor& node, const Visitor& entry,
                   const std::function<void(const Error&)>& damage) {
  if (root_.height > 0) WalkAt(root_.block, root_.height - 1, node, entry, damage);
  return {};
}

void BTree::WalkAt(uint64_t block, uint32_t level, const NodeVisitor& visit_node,
                   const Visitor& entry, const std::function<void(const Error&)>& damage) {
  auto ref = Load(block, level);
  if (!ref) return damage(ref.error());
  const Node node((*ref)->data, words_);
  visit_node(block, level, node.count());
  for (uint32_t i = 0; i < node.count(); ++i) {
    if (level == 0) {
      entry(node.entry(i));
    } else {
      WalkAt(node.child(i), level - 1, visit_node, entry, damage);
    }
  }
}

}  // namespace ddsnap
