// SPDX-License-Identifier: GPL-2.0
#include "repl/compare.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "repl/aligned_bytes.h"
#include "repl/ordered_work.h"

namespace ddsnap::repl {
namespace {

constexpr uint32_t kPiece = kMaxExtent;  // bytes that are read at once, and have one sum at first
constexpr uint64_t kPiecesAsked = 128;   // with one record
// The answers to all that is under way fit into a pipe: see doc/delta-format.md.
constexpr size_t kAsksAhead = 4;
constexpr size_t kDetailsAhead = 8;
static_assert(kAsksAhead * (128 + kPiecesAsked * sizeof(Sum)) +
                  kDetailsAhead * (128 + kPiece / kMinChunkSize * sizeof(Sum)) <
              65536);
static_assert(kPiecesAsked <= kMaxSums && kPiece / kMinChunkSize <= kMaxSums);

struct Piece {
  uint64_t offset = 0;
  uint32_t length = 0;
  Sum sum{};
  AlignedBytes buffer;
};

unsigned Threads(unsigned wanted) { return wanted != 0 ? wanted : DefaultThreads(); }

class Comparison {
 public:
  Comparison(const StreamHead& head, const ContentDevice& ours, VerifyWriter& asks,
             ReplyReader& replies, const CompareOptions& options)
      : size_(head.target.size),
        chunk_size_(head.chunk_size),
        ours_(ours),
        asks_(asks),
        replies_(replies),
        options_(options) {}

  [[nodiscard]] Result<CompareSummary> Run() {
    OrderedWork<Piece> team(Threads(options_.threads));
    Status s = team.Run([this](Piece& piece) -> Result<bool> { return Next(piece); },
                        [this](Piece& piece) { return Read(piece); },
                        [this](const Piece& piece) { return Take(piece); });
    if (!s) return Pass(s);
    return summary_;
  }

 private:
  struct Suspect {
    uint64_t offset;
    uint32_t length;
    Sum theirs;
  };

  [[nodiscard]] bool Next(Piece& piece) {
    if (at_ >= size_) return false;
    piece.offset = at_;
    piece.length = static_cast<uint32_t>(std::min<uint64_t>(kPiece, size_ - at_));
    at_ += piece.length;
    return true;
  }

  [[nodiscard]] Status Read(Piece& piece) const {
    const auto content = Room(piece.buffer, piece.length);
    if (Status s = ours_.Read(piece.offset, content); !s) return s;
    piece.sum = Checksum(content);
    return {};
  }

  // In order, on the thread that talks with the other side.
  [[nodiscard]] Status Take(const Piece& piece) {
    const uint64_t index = piece.offset / kPiece % kPiecesAsked;
    if (index == 0) {
      if (Status s = NextSums(); !s) return s;
    }
    if (piece.sum != theirs_[index])
      suspects_.push_back({piece.offset, piece.length, theirs_[index]});
    summary_.compared += piece.length;
    if (options_.progress) options_.progress("comparing", summary_.compared, size_);
    return index + 1 == theirs_.size() ? LookCloser() : Status();
  }

  // The sums of the pieces to come.
  [[nodiscard]] Status NextSums() {
    while (sums_under_way_ + sums_.size() < kAsksAhead && asked_to_ < size_) {
      const auto length = std::min<uint64_t>(kPiecesAsked * kPiece, size_ - asked_to_);
      if (Status s = Ask({asked_to_, static_cast<uint32_t>(length), kPiece}); !s) return s;
      ++sums_under_way_;
      asked_to_ += length;
    }
    while (sums_.empty())
      if (Status s = TakeAnswer(); !s) return s;
    theirs_ = std::move(sums_.front());
    sums_.pop_front();
    return {};
  }

  // Which chunks of the pieces that differ.
  [[nodiscard]] Status LookCloser() {
    for (const Suspect& suspect : suspects_) {
      const SumRange range = {suspect.offset, suspect.length, chunk_size_};
      if (chunk_size_ == kPiece) {
        if (Status s = Judge(range, {&suspect.theirs, 1}); !s) return s;
        continue;
      }
      while (details_under_way_ >= kDetailsAhead)
        if (Status s = TakeAnswer(); !s) return s;
      if (Status s = Ask(range); !s) return s;
      ++details_under_way_;
    }
    suspects_.clear();
    while (details_under_way_ > 0)
      if (Status s = TakeAnswer(); !s) return s;
    return {};
  }

  [[nodiscard]] Status Ask(const SumRange& range) {
    asked_.push_back(range);
    return asks_.Ask(range);
  }

  [[nodiscard]] Status TakeAnswer() {
    auto reply = replies_.Next();
    if (!reply) return Pass(reply);
    if (reply->kind == Reply::Kind::kFail) return std::unexpected(std::move(reply->error));
    if (reply->kind != Reply::Kind::kSums || reply->range != asked_.front())
      return Fail(EBADMSG, "answers something else than it was asked");
    asked_.pop_front();
    if (reply->range.unit != kPiece) {
      --details_under_way_;
      return Judge(reply->range, reply->sums);
    }
    --sums_under_way_;
    sums_.push_back(std::move(reply->sums));
    return {};
  }

  // Compares the chunks of a piece that is known to differ.
  [[nodiscard]] Status Judge(const SumRange& range, std::span<const Sum> theirs) {
    const auto content = Room(again_, range.length);
    if (Status s = ours_.Read(range.offset, content); !s) return s;
    const auto differs = [&](size_t i) {
      const size_t at = i * range.unit;
      return Checksum(content.subspan(at, std::min<size_t>(range.unit, content.size() - at))) !=
             theirs[i];
    };
    const uint64_t before = summary_.different;
    for (size_t i = 0; i < theirs.size(); ++i) {
      const size_t first = i;
      while (i < theirs.size() && differs(i)) ++i;
      if (i == first) continue;
      summary_.different += i - first;
      const size_t at = first * range.unit, end = std::min<size_t>(i * range.unit, content.size());
      Status s = options_.differs(range.offset + at, content.subspan(at, end - at));
      if (!s) return s;
    }
    if (summary_.different > before) return {};
    return Fail(EIO, "other content each time it is read, from byte " +
                         std::to_string(range.offset) + " on");
  }

  const uint64_t size_;
  const uint32_t chunk_size_;
  const ContentDevice& ours_;
  VerifyWriter& asks_;
  ReplyReader& replies_;
  const CompareOptions& options_;

  uint64_t at_ = 0;             // of what is read; the team's
  uint64_t asked_to_ = 0;       // pieces below it have been asked for
  std::deque<SumRange> asked_;  // and not answered
  size_t sums_under_way_ = 0;   // of these: of pieces
  size_t details_under_way_ = 0;
  std::deque<std::vector<Sum>> sums_;  // of pieces to come
  std::vector<Sum> theirs_;            // of those around the one that is compared
  std::vector<Suspect> suspects_;      // among them
  AlignedBytes again_;
  CompareSummary summary_;
};

// Some units of a range, of kPiece bytes at most.
struct Units {
  uint64_t offset = 0;
  uint32_t length = 0;
  std::vector<Sum> sums;
  AlignedBytes buffer;
};

class Answering {
 public:
  Answering(const ContentDevice& device, const SumRange& range) : device_(device), range_(range) {}

  [[nodiscard]] Result<std::vector<Sum>> Run(unsigned threads) {
    std::vector<Sum> sums;
    sums.reserve(range_.count());
    const auto keep = [&sums](const Units& units) -> Status {
      sums.insert(sums.end(), units.sums.begin(), units.sums.end());
      return {};
    };
    if (range_.length <= kPiece) {
      Units all;
      if (Status s = Next(all) ? Work(all) : Status(); !s) return Pass(s);
      return std::move(all.sums);
    }
    OrderedWork<Units> team(Threads(threads));
    Status s = team.Run([this](Units& units) -> Result<bool> { return Next(units); },
                        [this](Units& units) { return Work(units); }, keep);
    if (!s) return Pass(s);
    return sums;
  }

 private:
  [[nodiscard]] bool Next(Units& units) {
    if (at_ >= range_.length) return false;
    units.offset = range_.offset + at_;
    units.length = std::min(kPiece, range_.length - at_);
    at_ += units.length;
    return true;
  }

  [[nodiscard]] Status Work(Units& units) const {
    const auto content = Room(units.buffer, units.length);
    units.sums.clear();
    Status s = device_.Read(units.offset, content);
    if (!s && !IsLost(s.error())) return s;
    // What can be read of a piece in which something is lost has its sums.
    const bool lost = !s;
    for (size_t at = 0; at < content.size(); at += range_.unit) {
      const auto unit = content.subspan(at, std::min<size_t>(range_.unit, content.size() - at));
      s = lost ? device_.Read(units.offset + at, unit) : Status();
      if (!s && !IsLost(s.error())) return s;
      units.sums.push_back(s ? Checksum(unit) : kLostSum);
    }
    return {};
  }

  const ContentDevice& device_;
  const SumRange range_;
  uint32_t at_ = 0;
};

}  // namespace

Result<CompareSummary> Compare(const StreamHead& head, const ContentDevice& ours,
                               VerifyWriter& asks, ReplyReader& replies,
                               const CompareOptions& options) {
  if (ours.size() < head.target.size) return Fail(EINVAL, ours.name() + ": is too small");
  return Comparison(head, ours, asks, replies, options).Run();
}

Result<AnswerSummary> Answer(VerifyReader& asks, const ContentDevice& device, ReplyWriter& replies,
                             unsigned threads) {
  AnswerSummary summary;
  VerifyRequest request;
  for (;;) {
    if (Status s = asks.Next(&request); !s) return Pass(s);
    if (request.kind == VerifyRequest::Kind::kEnded) break;
    if (request.kind == VerifyRequest::Kind::kAsked) {
      auto sums = Answering(device, request.range).Run(threads);
      if (!sums) return Pass(sums);
      if (Status s = replies.PutSums(request.range, *sums); !s) return Pass(s);
      continue;
    }
    if (Status s = device.Write(request.offset, request.record.payload); !s) return Pass(s);
    ++summary.extents;
    summary.bytes += request.record.payload.size();
  }
  if (asks.head().mend)
    if (Status s = device.Flush(); !s) return Pass(s);
  return summary;
}

}  // namespace ddsnap::repl
