// SPDX-License-Identifier: GPL-2.0
#include "verifying.h"

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>

#include "../progress.h"
#include "../snapshot_device.h"
#include "../transmitting.h"
#include "base/uuid.h"
#include "delta_folder.h"
#include "live_volume.h"
#include "remote_link.h"
#include "repl/apply_delta.h"
#include "repl/compare.h"
#include "repl/rate_limit.h"
#include "replicating.h"

namespace ddsnap {
namespace {

// Our snapshot of what a receiver says that it holds.
Result<repl::SnapshotId> HeldHere(const ServerVolume& volume,
                                  const std::optional<repl::ReceiveState>& state) {
  if (!state) return Fail(ENOENT, "holds nothing yet: replicate first");
  if (state->what.volume != volume.uuid)
    return Fail(ESTALE,
                "is a replica of volume " + FormatUuid(state->what.volume) + ", not of this one");
  if (!state->complete) return Fail(EBUSY, "is in the midst of a stream: replicate finishes it");
  if (auto here = volume.WithEpoch(state->what.target.epoch)) return here;
  return Fail(ENOENT, repl::Describe(state->what.target) +
                          ", which it holds, is gone here: there is nothing to compare it with");
}

// One comparison with a replica, over one connection.
class RemotePass {
 public:
  RemotePass(const std::string& volume, const TargetConfig& target, bool mend, ProgressLine& line)
      : volume_(volume), target_(target), mend_(mend), line_(line) {}

  [[nodiscard]] Result<Verdict> Run() {
    auto remote = ParseRemote(target_.name);
    if (!remote) return Pass(remote);
    const std::string theirs = remote->volume.empty() ? volume_ : remote->volume;
    auto link = RemoteLink::Open(remote->host, {"zumastor", "receive", theirs});
    if (!link) return Pass(link);
    Connection& connection = (*link)->connection();
    repl::ReplyReader replies(connection.source);
    Status s = Talk(connection, replies);
    line_.Clear();
    if (s) return std::move(verdict_);
    const Error& error = s.error();
    const bool ours = !replies.failed() && !connection.sink.broken() && error.code != EBADMSG;
    if (ours) return Pass(s);
    const Error told = {error.code, remote->host + ": " + error.text};
    if (replies.failed()) return std::unexpected(told);
    return std::unexpected((*link)->Explain(told));
  }

 private:
  [[nodiscard]] Status Talk(Connection& connection, repl::ReplyReader& replies) {
    auto status = replies.Next();
    connection.sink.LimitReads(0);
    if (!status) return Fail(EBADMSG, "no answer");
    if (status->kind == repl::Reply::Kind::kFail) return std::unexpected(status->error);
    auto client = ControlClient::Connect(ServerSocket(volume_));
    if (!client) return Pass(client);
    auto known = ServerVolume::Ask(*client);
    if (!known) return Pass(known);
    auto held = HeldHere(*known, status->state);
    if (!held) return Fail(held.error().code, target_.name + ": " + held.error().text);
    // It stays meanwhile, whatever the records were.
    Status s = UpdatePeer(volume_, target_.name, [&](PeerRecord& peer) { peer.held = held->tag; });
    if (!s) return s;
    auto device = OpenSnapshot(ServerSocket(volume_), known->uuid, *held);
    if (!device) return Pass(device);
    verdict_.snapshot = held->tag;
    repl::VerifyHead head;
    head.what.volume = known->uuid;
    head.what.chunk_size = known->chunk_size;
    head.what.base = {.none = true};
    head.what.target = *held;
    head.mend = mend_;
    s = Compare(head, **device, connection.sink, replies);
    return s ? TakeEnd(connection, replies) : s;
  }

  [[nodiscard]] Status Compare(const repl::VerifyHead& head, const repl::ContentDevice& ours,
                               repl::ByteSink& link, repl::ReplyReader& replies) {
    std::optional<repl::LimitedSink> limited;
    if (target_.rate_limit != 0) limited.emplace(link, target_.rate_limit);
    repl::VerifyWriter asks(limited ? static_cast<repl::ByteSink&>(*limited) : link, head);
    if (Status s = asks.Begin(); !s) return s;
    repl::CompareOptions options;
    options.progress = [this](const char* what, uint64_t done, uint64_t total) {
      line_.Show(mend_ ? "repairing" : what, done, total);
    };
    options.differs = [&](uint64_t offset, std::span<const std::byte> content) -> Status {
      Remember(offset, content.size());
      return mend_ ? asks.Mend(offset, content) : Status();
    };
    auto summary = repl::Compare(head.what, ours, asks, replies, options);
    if (!summary) return Pass(summary);
    verdict_.compared = summary->compared;
    verdict_.different = summary->different;
    return asks.Finish();
  }

  void Remember(uint64_t offset, uint64_t length) {
    auto& ranges = verdict_.ranges;
    if (!ranges.empty() && ranges.back().first + ranges.back().second == offset) {
      ranges.back().second += length;
    } else if (ranges.size() < Verdict::kMaxRanges) {
      ranges.emplace_back(offset, length);
    }
  }

  // What the other side says of its snapshot and origin, and its last word.
  [[nodiscard]] Status TakeEnd(Connection& connection, repl::ReplyReader& replies) {
    connection.sink.Finish();
    auto reply = replies.Next();
    if (!reply) return Pass(reply);
    if (reply->kind == repl::Reply::Kind::kSnapshot) {
      verdict_.there = reply->tag;
      verdict_.origin_differs = !reply->origin_is_it;
      reply = replies.Next();
      if (!reply) return Pass(reply);
      if (reply->kind == repl::Reply::Kind::kDone) return {};
    }
    if (reply->kind == repl::Reply::Kind::kFail) return std::unexpected(reply->error);
    return Fail(EBADMSG, "answers something else than it was asked");
  }

  const std::string& volume_;
  const TargetConfig& target_;
  const bool mend_;
  ProgressLine& line_;
  Verdict verdict_;
};

Result<Verdict> VerifyRemote(const std::string& volume, const TargetConfig& target, bool repair,
                             ProgressLine& line) {
  auto verdict = RemotePass(volume, target, /*mend=*/false, line).Run();
  if (!verdict || verdict->good() || !repair) return verdict;
  // The origin may differ in other places than the snapshot does: all of it is looked at.
  auto mended = RemotePass(volume, target, /*mend=*/true, line).Run();
  if (!mended) return mended;
  auto after = RemotePass(volume, target, /*mend=*/false, line).Run();
  if (!after) return after;
  if (!after->good() || after->snapshot != verdict->snapshot)
    return Fail(EIO, target.name + ": differs still after it was repaired");
  verdict->repaired = true;
  verdict->mended = after->there;
  return verdict;
}

// Reads a delta to its end.  With a device, which holds its target: compares all its extents.
Result<repl::ApplySummary> VerifyFile(const DeltaFile& file,
                                      const repl::ContentDevice* holds_target, ProgressLine& line) {
  auto source = repl::FileSource::Open(file.path);
  if (!source) return Pass(source);
  repl::ApplyOptions options;
  options.progress = [&line](const char*, uint64_t done, uint64_t total) {
    line.Show("reading", done, total);
  };
  auto summary = repl::VerifyDelta(**source, holds_target, options);
  line.Clear();
  if (summary && holds_target != nullptr && summary->already != summary->bytes)
    return Fail(ESTALE, file.path + ": leads to other content than " +
                            repl::Describe(file.head.target) + " has");
  return summary;
}

Result<Verdict> VerifyFolder(const std::string& volume, const TargetConfig& target,
                             const std::string& dir, bool repair, ProgressLine& line) {
  if (repair)
    return Fail(EOPNOTSUPP, target.name +
                                ": a folder is not repaired: remove what is damaged, and "
                                "replicate begins a new chain");
  auto client = ControlClient::Connect(ServerSocket(volume));
  if (!client) return Pass(client);
  auto known = ServerVolume::Ask(*client);
  if (!known) return Pass(known);
  std::optional<Tag> held;
  Status s = UpdatePeer(volume, target.name, [&held](PeerRecord& peer) { held = peer.held; });
  if (!s) return Pass(s);
  if (!held) return Fail(ENOENT, target.name + ": holds nothing yet: replicate first");
  auto folder = DeltaFolder::OpenToRead(dir);
  if (!folder) return Pass(folder);
  if (folder->volume() && *folder->volume() != known->uuid)
    return Fail(ESTALE, target.name + ": holds deltas of volume " + FormatUuid(*folder->volume()));
  const auto here = known->WithTag(*held);
  auto wanted = here ? here : folder->WithTag(*held);
  if (!wanted) return Pass(wanted);
  auto chain = folder->ChainTo(*wanted);
  if (!chain) return Pass(chain);
  std::unique_ptr<repl::ContentDevice> device;
  if (here) {
    auto opened = OpenSnapshot(ServerSocket(volume), known->uuid, *here);
    if (!opened) return Pass(opened);
    device = std::move(*opened);
  }
  Verdict verdict;
  verdict.snapshot = *held;
  verdict.deltas = chain->size();
  for (const DeltaFile& file : *chain) {
    auto read = VerifyFile(file, &file == &chain->back() ? device.get() : nullptr, line);
    if (!read) return Pass(read);
    verdict.compared += read->bytes;
  }
  return verdict;
}

}  // namespace

Result<Verdict> Verify(const std::string& volume, const TargetConfig& target, bool repair,
                       bool json) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto lock = CommandLock::OfTarget(volume, target.name);
  if (!lock) return Pass(lock);
  if (Status s = RequireTarget(volume, target.name); !s) return Pass(s);
  ProgressLine line(json);
  const auto folder = FolderOfTarget(target.name);
  return folder ? VerifyFolder(volume, target, *folder, repair, line)
                : VerifyRemote(volume, target, repair, line);
}

}  // namespace ddsnap
