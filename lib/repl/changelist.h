// SPDX-License-Identifier: GPL-2.0
// Changelists: which chunks may differ between two snapshots.  The format is
// in doc/delta-format.md.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_CHANGELIST_H_
#define DDSNAP_REPL_CHANGELIST_H_

#include <optional>
#include <vector>

#include "base/chunk.h"
#include "base/status.h"
#include "repl/stream_head.h"

namespace ddsnap::repl {

class ChangelistWriter {
 public:
  ChangelistWriter(ByteSink& sink, const StreamHead& head)
      : records_(sink, kChangelistMagic), head_(head) {}

  // Ranges ascend; one that touches the one before is merged with it.
  [[nodiscard]] Status Add(const ChunkRange& range);
  [[nodiscard]] Status Finish();

  [[nodiscard]] uint64_t ranges() const { return ranges_; }  // after Finish
  [[nodiscard]] uint64_t chunks() const { return chunks_; }

 private:
  [[nodiscard]] Status Begin();
  [[nodiscard]] Status PutPending();
  [[nodiscard]] Status PutRecord();

  RecordWriter records_;
  StreamHead head_;
  bool begun_ = false;
  std::optional<ChunkRange> pending_;  // may still grow
  std::vector<RawRange> full_;         // of the record under way
  uint64_t ranges_ = 0;
  uint64_t chunks_ = 0;
};

class ChangelistReader {
 public:
  // Reads the head.
  [[nodiscard]] static Result<ChangelistReader> Open(ByteSource& source);

  [[nodiscard]] const StreamHead& head() const { return head_; }
  // The next range, or nullopt when the list has ended as it should.
  [[nodiscard]] Result<std::optional<ChunkRange>> Next();

  [[nodiscard]] uint64_t ranges() const { return ranges_; }  // so far
  [[nodiscard]] uint64_t chunks() const { return chunks_; }

 private:
  explicit ChangelistReader(ByteSource& source)
      : records_(source, kChangelistMagic, "changelist") {}
  [[nodiscard]] Status ReadHead();
  [[nodiscard]] Status TakeEnd();

  RecordReader records_;
  StreamHead head_;
  Record record_;
  size_t at_ = 0;  // in record_.body
  bool ended_ = false;
  uint64_t end_ = 0;  // of the last range
  uint64_t ranges_ = 0;
  uint64_t chunks_ = 0;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_CHANGELIST_H_
