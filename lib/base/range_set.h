// SPDX-License-Identifier: GPL-2.0
// A set of integers kept as disjoint, merged ranges.
#ifndef DDSNAP_BASE_RANGE_SET_H_
#define DDSNAP_BASE_RANGE_SET_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>

namespace ddsnap {

class RangeSet {
 public:
  using Map = std::map<uint64_t, uint64_t>;  // start -> end (exclusive)

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] uint64_t total() const { return total_; }
  [[nodiscard]] size_t size() const { return ranges_.size(); }
  [[nodiscard]] const Map& ranges() const { return ranges_; }

  void Clear() {
    ranges_.clear();
    total_ = 0;
  }

  // Adds [start, start+count); members stay members.
  void Add(uint64_t start, uint64_t count) {
    if (count == 0) return;
    uint64_t end = start + count;
    auto it = ranges_.upper_bound(start);
    if (it != ranges_.begin() && std::prev(it)->second >= start) --it;
    while (it != ranges_.end() && it->first <= end) {
      start = std::min(start, it->first);
      end = std::max(end, it->second);
      total_ -= it->second - it->first;
      it = ranges_.erase(it);
    }
    ranges_.emplace(start, end);
    total_ += end - start;
  }

  // Removes what is there of [start, start+count).
  void Remove(uint64_t start, uint64_t count) {
    if (count == 0) return;  // nothing, and no range may be split at START
    const uint64_t end = start + count;
    auto it = ranges_.upper_bound(start);
    if (it != ranges_.begin()) --it;
    while (it != ranges_.end() && it->first < end) {
      if (it->second <= start) {
        ++it;
        continue;
      }
      const auto [a, b] = *it;
      it = ranges_.erase(it);
      total_ -= b - a;
      if (a < start) {
        ranges_.emplace(a, start);
        total_ += start - a;
      }
      if (b > end) {
        it = ranges_.emplace(end, b).first;
        total_ += b - end;
        break;
      }
    }
  }

  [[nodiscard]] bool Contains(uint64_t start, uint64_t count) const {
    auto it = ranges_.upper_bound(start);
    return it != ranges_.begin() && std::prev(it)->second >= start + count;
  }

  // The end of the member range that overlaps [start, start+count) last, if any:
  // where a search for a gap goes on.
  [[nodiscard]] std::optional<uint64_t> OverlapEnd(uint64_t start, uint64_t count) const {
    auto it = ranges_.lower_bound(start + count);
    if (it == ranges_.begin() || std::prev(it)->second <= start) return std::nullopt;
    return std::prev(it)->second;
  }

 private:
  Map ranges_;
  uint64_t total_ = 0;
};

}  // namespace ddsnap

#endif  // DDSNAP_BASE_RANGE_SET_H_
