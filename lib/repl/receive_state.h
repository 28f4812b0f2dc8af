// SPDX-License-Identifier: GPL-2.0
// What is known of a device that deltas are received on, and where it is kept.
// doc/delta-format.md, "Receiving", has the rules.
//
// Thread rule: one thread.
#ifndef DDSNAP_REPL_RECEIVE_STATE_H_
#define DDSNAP_REPL_RECEIVE_STATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "repl/stream_head.h"

namespace ddsnap::repl {

// A snapshot of the device that is received on, downstream.  A tag may be used again; an epoch
// never is.  0: not known, as in a state that an older program has left.
struct LocalSnapshot {
  LocalSnapshot() = default;
  LocalSnapshot(Tag with_tag, Epoch with_epoch = 0) : tag(with_tag), epoch(with_epoch) {}
  Tag tag = 0;
  Epoch epoch = 0;
  bool operator==(const LocalSnapshot&) const = default;
};

struct ReceiveState {
  // Where something was written, and what it is.
  struct Written {
    uint64_t offset = 0;
    uint32_t length = 0;
    Sum sum{};
    bool operator==(const Written&) const = default;
  };
  bool complete = false;  // the device holds the target; else it is between base and target
  std::string device;     // its name, for people
  uint64_t size = 0;      // of the device, in bytes
  StreamHead what;
  uint64_t position = 0;                // below it the target's content is durable
  uint64_t limit = 0;                   // at or above it nothing has been written
  std::optional<Written> first;         // the lowest extent written, or about to be
  std::optional<Written> last;          // extent below the position
  std::optional<LocalSnapshot> before;  // downstream snapshot of what the device was
  std::optional<LocalSnapshot> after;   // that of the target, about to be made or there
  bool vouched = false;                 // `before` holds the base: a downstream snapshot said so
  bool written = false;                 // what differed from `before` was, or is being, written
  bool operator==(const ReceiveState&) const = default;
};

// As the file has it, and back.  EBADMSG for anything else.
[[nodiscard]] std::string FormatState(const ReceiveState& state);
[[nodiscard]] Result<ReceiveState> ParseState(const std::string& text);

// Whether two streams go from and to the same snapshots.
[[nodiscard]] bool SameJourney(const StreamHead& a, const StreamHead& b);

// Names what a sender has to send, and from where.
struct ResumeToken {
  Uuid volume{};
  std::optional<Epoch> base;  // none: a full stream
  Epoch target = 0;
  uint64_t position = 0;  // what lies below need not be sent
  uint64_t limit = 0;     // what lies below must be sent without the base: it may be torn
  bool operator==(const ResumeToken&) const = default;
};
// The state of who does not know any more what of the stream is there: it is begun again, and every
// extent compared.
[[nodiscard]] ReceiveState Disbelieved(ReceiveState state);

[[nodiscard]] ResumeToken TokenOf(const ReceiveState& state);
[[nodiscard]] std::string FormatToken(const ResumeToken& token);
// EINVAL for anything else.
[[nodiscard]] Result<ResumeToken> ParseToken(const std::string& text);

// Where a receiver keeps its state.  What Save and SaveRedo were given is durable, whole, when they
// return; a crash before leaves what was there.
class ReceiveLog {
 public:
  virtual ~ReceiveLog() = default;
  [[nodiscard]] virtual Result<std::optional<ReceiveState>> Load() = 0;
  [[nodiscard]] virtual Status Save(const ReceiveState& state) = 0;
  [[nodiscard]] virtual Result<std::vector<std::byte>> LoadRedo() = 0;  // empty: none
  [[nodiscard]] virtual Status SaveRedo(std::span<const std::byte> redo) = 0;
  [[nodiscard]] virtual Status DropRedo() = 0;
};

// The state in the file `path`, the redo in PATH.redo.
class FileReceiveLog : public ReceiveLog {
 public:
  explicit FileReceiveLog(std::string path) : path_(std::move(path)) {}
  // The folder is made if need be.  `key` names the device: any text.
  [[nodiscard]] static std::string DefaultPath(const std::string& key);

  [[nodiscard]] Result<std::optional<ReceiveState>> Load() override;
  [[nodiscard]] Status Save(const ReceiveState& state) override;
  [[nodiscard]] Result<std::vector<std::byte>> LoadRedo() override;
  [[nodiscard]] Status SaveRedo(std::span<const std::byte> redo) override;
  [[nodiscard]] Status DropRedo() override;
  // Nothing is known of the device any more: it was reverted, or given another use.
  [[nodiscard]] Status Forget();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  [[nodiscard]] Status Replace(const std::string& path, std::span<const std::byte> bytes) const;
  [[nodiscard]] Result<std::vector<std::byte>> ReadWhole(const std::string& path) const;

  std::string path_;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_RECEIVE_STATE_H_
