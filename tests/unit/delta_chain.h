// SPDX-License-Identifier: GPL-2.0
// A volume's life in memory, and the deltas between its snapshots.
#ifndef DDSNAP_TESTS_UNIT_DELTA_CHAIN_H_
#define DDSNAP_TESTS_UNIT_DELTA_CHAIN_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "repl/changelist.h"
#include "repl_helpers.h"
#include "zumastor/delta_folder.h"

namespace ddsnap::unit {

class DeltaChain {
 public:
  static constexpr uint32_t kChunk = 4096;
  static constexpr uint32_t kHole = 64 * kChunk, kHoleEnd = 96 * kChunk;

  explicit DeltaChain(uint8_t volume, uint64_t seed) : random_(seed) {
    head_.volume.fill(volume);
    head_.chunk_size = kChunk;
  }

  [[nodiscard]] const Uuid& volume() const { return head_.volume; }

  // The next snapshot: `size` bytes, of which some are new.  Its tag is its number,
  // beginning with 1, its epoch ten times that.  All have the same hole, in which no delta has an
  // extent.
  const repl::SnapshotId& Next(uint64_t size) {
    Bytes content = contents_.empty() ? Bytes() : contents_.back()->Content();
    const size_t old = content.size();
    content.resize(size);
    for (size_t at = 0; at < size; at += kChunk) {
      if (at >= kHole && at < kHoleEnd) continue;
      if (at >= old || random_() % 4 == 0) {
        Scribble(random_, std::span(content).subspan(at, std::min<size_t>(kChunk, size - at)));
      }
    }
    contents_.push_back(std::make_unique<TempFile>(content));
    const auto tag = static_cast<Tag>(contents_.size());
    ids_.push_back({.epoch = 10 * Epoch{tag},
                    .tag = tag,
                    .size = size,
                    .created_ns = tag * 1'000'000'000LL,
                    .none = false});
    return ids_.back();
  }

  // By tag.
  [[nodiscard]] const repl::SnapshotId& Id(Tag tag) const { return ids_[tag - 1]; }
  [[nodiscard]] Bytes Content(Tag tag) const { return contents_[tag - 1]->Content(); }

  // The delta from `base` (0: full) to `target`, into the folder.
  [[nodiscard]] Status Write(DeltaFolder& folder, Tag base, Tag target) const {
    auto sink = folder.Create(base == 0 ? std::nullopt : std::optional(Id(base)), Id(target));
    if (!sink) return Pass(sink);
    if (Status s = Stream(**sink, base, target); !s) return s;
    if (Status s = (*sink)->Commit(); !s) return s;
    return folder.Refresh();
  }

  [[nodiscard]] Status Stream(repl::ByteSink& out, Tag base, Tag target) const {
    repl::StreamHead head = head_;
    head.target = Id(target);
    const auto to = contents_[target - 1]->Open(false);
    repl::CreateOptions options;
    options.threads = 2;
    options.mode = repl::Mode::kBest;
    if (base == 0) {
      auto full = repl::CreateFullDelta(head, *to, out, options);
      return full ? Status() : Pass(full);
    }
    head.base = Id(base);
    const uint64_t most = std::max(head.base.size, head.target.size);
    const Bytes list = MakeChangelist(head, {{0, (most + kChunk - 1) / kChunk}});
    repl::MemorySource source(list);
    const auto from = contents_[base - 1]->Open(false);
    auto delta = repl::CreateDelta(source, from.get(), *to, out, options);
    return delta ? Status() : Pass(delta);
  }

 private:
  repl::StreamHead head_;
  Random random_;
  std::vector<repl::SnapshotId> ids_;
  std::vector<std::unique_ptr<TempFile>> contents_;
};

}  // namespace ddsnap::unit

#endif  // DDSNAP_TESTS_UNIT_DELTA_CHAIN_H_
