// SPDX-License-Identifier: GPL-2.0
// Bookmarks in the simulation: that their changelists miss nothing, and that they keep nothing.
#include <algorithm>
#include <cerrno>

#include "simulation.h"
#include "store/checker.h"

namespace ddsnap {

bool Simulation::BookmarkSnapshot() {
  const auto snapshot = PickSnapshot();
  if (!snapshot) return true;
  const Status s = store_->Bookmark(*snapshot);
  if (*snapshot == staged_reverting_)
    return (!s && s.error().code == EBUSY) || power_.off() || Bad("a revert's goal is given away");
  if (!Check(s, "bookmark")) return false;
  staged_[*snapshot].ok = false;
  staged_[*snapshot].mark = true;
  return true;
}

// Every chunk that differs from what the bookmark held is in its changelist.
bool Simulation::TellsChanges(Epoch mark, const ModelSnapshot& was, const Model& model,
                              std::string* why) {
  const auto tells = [&](Epoch to, const Contents& now) {
    std::vector<bool> named(std::max(now.size(), was.contents.size()));
    const Status s = store_->Changelist(mark, to, [&](const ChunkRange& range) {
      for (uint64_t i = 0; i < range.count; ++i)
        if (range.chunk + i < named.size()) named[range.chunk + i] = true;
      return true;
    });
    if (!s) *why = "changelist: " + s.error().text;
    if (!s) return false;
    for (uint64_t chunk = 0; chunk < std::min(now.size(), was.contents.size()); ++chunk)
      if (now[chunk] != was.contents[chunk] && !named[chunk]) {
        *why = "bookmark " + std::to_string(mark) + " to " + std::to_string(to) + ": chunk " +
               std::to_string(chunk) + " changed, and is not named";
        return false;
      }
    return true;
  };
  if (store_->FindEpoch(mark)->size != was.contents.size() * options_.chunk_size) {
    *why = "wrong size of bookmark " + std::to_string(mark);
    return false;
  }
  for (const auto& [epoch, snap] : model)
    if (snap.ok && !tells(epoch, snap.contents)) return false;
  const auto end = origin_now_.begin() + static_cast<int64_t>(origin_chunks_);
  return tells(0, Contents(origin_now_.begin(), end));
}

bool Simulation::Drain() {
  for (int turn = 0; turn < 100000; ++turn) {
    if (!CommitAll()) return false;
    auto more = store_->Step();
    if (!more) return Check(std::unexpected(more.error()), "step");
    if (!*more) return CommitAll();
  }
  return Bad("background work never ends");
}

bool Simulation::End() {
  if (staged_reverting_ != 0 && !ToggleRevert()) return false;
  while (PickSnapshot())
    if (!BookmarkSnapshot()) return false;
  if (!Drain() || !Verify()) return false;
  for (int i = 0; i < 50; ++i)
    if (!WriteOrigin()) return false;
  if (!Drain() || !Verify()) return false;
  // Bookmarks hold no contents, whatever they have come to know.
  const StoreSpace space = store_->space();
  if (space.free_chunks + granted_.size() + fixed_chunks_ != space.total_chunks)
    return Bad("bookmarks keep chunks of the store");
  while (!staged_.empty())
    if (!DeleteSnapshot()) return false;
  if (!Drain()) return false;
  auto report = CheckStore(store_device_, meta_.get());
  if (!report) return Check(std::unexpected(report.error()), "check");
  return report->exceptions + report->privates == 0 || Bad("deleted bookmarks have left something");
}

}  // namespace ddsnap
