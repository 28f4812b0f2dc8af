// SPDX-License-Identifier: GPL-2.0
#include "repl/revert.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "repl/aligned_bytes.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

constexpr uint64_t kPiece = 1 << 20;  // bytes read at once

struct Piece {
  uint64_t offset = 0;
  uint64_t length = 0;
  RevertSummary sum;  // of this piece
  AlignedBytes want, have;
};

class Work {
 public:
  Work(const ContentDevice& snapshot, const ContentDevice& origin, const RevertOptions& options)
      : snapshot_(snapshot), origin_(origin), options_(options) {}

  // Chunk by chunk where a chunk of the snapshot is lost, so that no more is.
  [[nodiscard]] Status Do(Piece& piece) const {
    piece.sum = {};
    piece.sum.compared = piece.length;
    piece.want.resize(kPiece);
    piece.have.resize(kPiece);
    Status s = snapshot_.Read(piece.offset, {piece.want.data(), piece.length});
    if (s) return Write(piece, 0, piece.length);
    if (!IsLost(s.error())) return s;
    for (uint64_t done = 0; done < piece.length;) {
      const uint64_t n = std::min(options_.chunk_size, piece.length - done);
      s = snapshot_.Read(piece.offset + done, {piece.want.data() + done, n});
      if (s) {
        if (s = Write(piece, done, n); !s) return s;
      } else if (IsLost(s.error())) {
        if (piece.sum.unreadable == 0) piece.sum.first_unreadable = piece.offset + done;
        piece.sum.unreadable += n;
      } else {
        return s;
      }
      done += n;
    }
    return {};
  }

 private:
  // Writes the chunks of [at, at+length) of the piece that differ, neighbours at once.
  [[nodiscard]] Status Write(Piece& piece, uint64_t at, uint64_t length) const {
    if (Status s = origin_.Read(piece.offset + at, {piece.have.data() + at, length}); !s) return s;
    const uint64_t end = at + length;
    while (at < end) {
      uint64_t until = at;
      while (until < end && Differs(piece, until, end)) until = Next(until, end);
      if (until == at) {
        at = Next(at, end);
        continue;
      }
      Status s = origin_.Write(piece.offset + at, {piece.want.data() + at, until - at});
      if (!s) return s;
      piece.sum.written += until - at;
      at = until;
    }
    return {};
  }
  [[nodiscard]] uint64_t Next(uint64_t at, uint64_t end) const {
    return at + std::min(options_.chunk_size, end - at);
  }
  [[nodiscard]] bool Differs(const Piece& piece, uint64_t at, uint64_t end) const {
    return std::memcmp(&piece.want[at], &piece.have[at], Next(at, end) - at) != 0;
  }

  const ContentDevice& snapshot_;
  const ContentDevice& origin_;
  const RevertOptions& options_;
};

// The ranges as pieces, none beyond the snapshot's end.
class Pieces {
 public:
  Pieces(std::span<const ChunkRange> ranges, const RevertOptions& options)
      : ranges_(ranges), options_(options) {}

  [[nodiscard]] bool Next(Piece& piece) {
    while (index_ < ranges_.size()) {
      const auto [begin, end] = Bytes(ranges_[index_]);
      const uint64_t at = std::max(begin, at_);
      if (at >= end) {
        ++index_;
        continue;
      }
      piece.offset = at;
      piece.length = std::min(end - at, kPiece);
      at_ = at + piece.length;
      return true;
    }
    return false;
  }
  [[nodiscard]] uint64_t Total() const {
    uint64_t total = 0;
    for (const ChunkRange& range : ranges_) {
      const auto [begin, end] = Bytes(range);
      total += end - begin;
    }
    return total;
  }

 private:
  [[nodiscard]] std::pair<uint64_t, uint64_t> Bytes(const ChunkRange& range) const {
    const uint64_t chunks = options_.size / options_.chunk_size + 1;
    const uint64_t first = std::min(range.chunk, chunks);
    const uint64_t last = std::min(range.count, chunks - first) + first;
    return {std::min(first * options_.chunk_size, options_.size),
            std::min(last * options_.chunk_size, options_.size)};
  }

  const std::span<const ChunkRange> ranges_;
  const RevertOptions& options_;
  size_t index_ = 0;
  uint64_t at_ = 0;
};

}  // namespace

Result<RevertSummary> Revert(const ContentDevice& snapshot, const ContentDevice& origin,
                             std::span<const ChunkRange> ranges, const RevertOptions& options) {
  if (snapshot.size() < options.size) return Fail(EINVAL, snapshot.name() + ": is too small");
  if (origin.size() < options.size)
    return Fail(ENOSPC, origin.name() +
                            ": is smaller than the snapshot was: " + std::to_string(origin.size()) +
                            " bytes, not " + std::to_string(options.size));
  const Work work(snapshot, origin, options);
  Pieces pieces(ranges, options);
  const uint64_t total = pieces.Total();
  RevertSummary sum;
  OrderedWork<Piece> team(options.threads != 0 ? options.threads : DefaultThreads());
  Status s = team.Run([&](Piece& piece) -> Result<bool> { return pieces.Next(piece); },
                      [&](Piece& piece) { return work.Do(piece); },
                      [&](const Piece& piece) -> Status {
                        if (sum.unreadable == 0) sum.first_unreadable = piece.sum.first_unreadable;
                        sum.compared += piece.sum.compared;
                        sum.written += piece.sum.written;
                        sum.unreadable += piece.sum.unreadable;
                        if (options.progress) options.progress(sum.compared, total);
                        return {};
                      });
  if (!s) return Pass(s);
  if (s = origin.Flush(); !s) return Pass(s);
  return sum;
}

}  // namespace ddsnap::repl
