// SPDX-License-Identifier: GPL-2.0
#include "replicating.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>

#include "base/uuid.h"
#include "delta_folder.h"
#include "host/event_queue.h"
#include "receive_request.h"
#include "remote_link.h"
#include "report.h"
#include "snapshotting.h"
#include "volume/rotation.h"
#include "volume/unit_name.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

using Clock = std::chrono::steady_clock;

// Links that fail at once, without having brought anything over: the timer comes again anyway.
constexpr int kTries = 3;
constexpr auto kPause = std::chrono::seconds(2);

time_t Seconds(const repl::SnapshotId& id) { return id.created_ns / 1'000'000'000; }

Result<ServerVolume> AskServerVolume(const std::string& volume) {
  auto client = ControlClient::Connect(ServerSocket(volume));
  if (!client) return Pass(client);
  return ServerVolume::Ask(*client);
}

// What the target holds is kept here until it holds something newer; so is what is on its way.
Status RememberStep(const SendJob& job, const ServerVolume& volume,
                    const std::optional<repl::ReceiveState>& state, const Step& step) {
  // Also of a stream that cannot be finished: its base is what the target goes back to.
  std::optional<repl::SnapshotId> held;
  if (state && (state->complete || !state->what.base.none)) {
    const repl::SnapshotId& id = state->complete ? state->what.target : state->what.base;
    if (auto known = volume.BaseWithEpoch(id.epoch)) held = *known;
  }
  const bool begins = step.kind == Step::Kind::kStream && (!state || state->complete);
  return UpdatePeer(job.volume, job.target, [&](PeerRecord& peer) {
    if (begins) peer.unsure = step.base && volume.HasLostContent(*step.base);
    peer.held.reset();
    peer.sending.reset();
    if (held) peer.held = held->tag;
    if (held) peer.held_created = Seconds(*held);
    if (step.kind == Step::Kind::kStream) peer.sending = step.target.tag;
  });
}

Status RememberArrival(const SendJob& job, const Step& step, uint64_t bytes,
                       Clock::time_point begun) {
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  Status s = UpdatePeer(job.volume, job.target, [&](PeerRecord& peer) {
    peer.held = step.target.tag;
    peer.held_created = Seconds(step.target);
    peer.sending.reset();
    peer.bytes = bytes;
    peer.milliseconds = static_cast<uint64_t>(took.count());
  });
  if (!s) return s;
  // The base before it may have had its time.
  auto volume = LiveVolume::Open(job.volume);
  if (!volume) return Pass(volume);
  if (Status expired = ExpireSnapshots(*volume); !expired) Warn(expired.error().text);
  return {};
}

Result<DeltaSender> PrepareSender(const SendJob& job, const Step& step) {
  SendOptions options;
  options.socket = ServerSocket(job.volume);
  options.tag = step.target.tag;
  if (step.base) options.from = step.base->tag;
  options.rate = job.rate_limit;
  return DeltaSender::Prepare(options);
}

Result<repl::CreateSummary> WriteDelta(const SendJob& job, const Step& step, DeltaFolder& folder,
                                       ProgressLine& line) {
  auto sender = PrepareSender(job, step);
  if (!sender) return Pass(sender);
  // Who restores from files has nobody who vouches for the base.
  if (!sender->base_sums())
    return Fail(EAGAIN, repl::Describe(*step.base) + ": was written to just now");
  auto sink = folder.Create(step.base, step.target);
  if (!sink) return Pass(sink);
  auto summary = sender->Send(**sink, 0, 0, line);
  if (!summary) return summary;
  if (Status s = (*sink)->Commit(); !s) return Pass(s);
  return summary;
}

// The next delta that a folder lacks; false: none.
Result<bool> WriteNext(const SendJob& job, DeltaFolder& folder, ProgressLine& line) {
  const auto begun = Clock::now();
  auto volume = AskServerVolume(job.volume);
  if (!volume) return Pass(volume);
  std::optional<repl::ReceiveState> state;
  if (auto newest = folder.newest()) {
    state.emplace();
    state->complete = true;
    state->what.volume = volume->uuid;
    state->what.target = *newest;
  }
  // Whoever restores from files compares with the base.
  auto step = ChooseStep(*volume, state, /*bookmarks=*/false);
  if (!step) return Pass(step);
  const bool stream = step->kind == Step::Kind::kStream;
  if (stream && folder.NeedsFull()) step->base.reset();
  if (Status s = RememberStep(job, *volume, state, *step); !s) return Pass(s);
  if (!stream) return false;
  auto summary = WriteDelta(job, *step, folder, line);
  if (!summary) return Pass(summary);
  if (Status s = folder.Refresh(); !s) return Pass(s);
  // What nobody could go on from would be written for ever.
  if (auto chain = folder.ChainTo(step->target); !chain) return Pass(chain);
  if (!folder.newest() || folder.newest()->epoch != step->target.epoch)
    return Fail(EEXIST, job.target + ": holds more than one delta to a snapshot");
  if (Status s = RememberArrival(job, *step, summary->payload, begun); !s) return Pass(s);
  if (auto pruned = folder.Prune(); !pruned) Warn(pruned.error().text);
  return true;
}

// A file system that is not mounted must not be taken for a folder that is empty.
Status CheckFolderIsThere(const SendJob& job, const std::string& dir) {
  auto live = LiveVolume::Open(job.volume);
  if (!live) return Pass(live);
  auto records = live->LoadRecords();
  if (!records) return Pass(records);
  if (records->targets[job.target].last_success == 0) return {};
  // Not whether it is empty: who merely looks into it leaves a lock there.
  if (DeltaFolder::IsUsed(dir)) return {};
  return Fail(ENOENT, dir +
                          ": has lost its deltas: is its file system mounted?  Else zumastor "
                          "forget target " +
                          job.volume + " " + job.target);
}

// Everything that a folder lacks.
Status WriteAll(const SendJob& job, const std::string& dir, ProgressLine& line) {
  auto volume = AskServerVolume(job.volume);
  if (!volume) return Pass(volume);
  if (Status s = CheckFolderIsThere(job, dir); !s) return s;
  auto folder = DeltaFolder::Open(dir, volume->uuid);
  if (!folder) return Pass(folder);
  for (;;) {
    auto more = WriteNext(job, *folder, line);
    if (!more) return Pass(more);
    if (!*more) return {};
  }
}

// Has the receiver go back to what it was before the stream that nobody can finish.
Status SendBack(Connection& connection, repl::ReplyReader& replies) {
  if (Status s = connection.sink.Write(std::as_bytes(std::span(kGoBackRequest))); !s) return s;
  connection.sink.Finish();
  auto reply = replies.Next();
  if (!reply) return Pass(reply);
  if (reply->kind != repl::Reply::Kind::kFail) return {};
  return Fail(reply->error.code, connection.sink.name() + ": " + reply->error.text);
}

// Everything over ssh, until the receiver lacks nothing.
Status SendAll(SendJob job, const std::string& name, ProgressLine& line) {
  auto remote = ParseRemote(name);
  if (!remote) return Pass(remote);
  const std::string theirs = remote->volume.empty() ? job.volume : remote->volume;
  bool link_failed = false;
  job.link_failed = &link_failed;
  for (int failures = 0;;) {
    auto link = RemoteLink::Open(remote->host, {"zumastor", "receive", theirs});
    if (!link) return Pass(link);
    auto more = SendNext(job, (*link)->connection(), line);
    line.Clear();
    if (more && !*more) return {};
    if (more) {
      failures = 0;
      job.from_start = false;
      continue;
    }
    if (more.error().code == ESTALE && !job.from_start && !link_failed) {
      // Downstream it is not any more what it was: perhaps it is the base again.
      job.from_start = true;
      continue;
    }
    if (!link_failed) return Pass(more);
    job.from_start = false;  // what this connection brought counts
    const Error why = (*link)->Explain(more.error());
    if (++failures >= kTries) return std::unexpected(why);
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

std::string ProgressFileOf(const std::string& volume, const std::string& target) {
  constexpr char kFolder[] = "/run/zumastor/replication";
  for (const char* folder : {"/run/zumastor", kFolder}) (void)::mkdir(folder, 0755);
  return std::string(kFolder) + "/" + volume + "." + EscapeUnitPath(target);
}

Status UpdatePeer(const std::string& volume, const std::string& target,
                  const std::function<void(PeerRecord&)>& change) {
  auto live = LiveVolume::Open(volume);
  if (!live) return Pass(live);
  auto records = live->LoadRecords();
  if (!records) return Pass(records);
  change(target.empty() ? records->source : records->targets[target]);
  return live->SaveRecords(*records);
}

Status Attempt(const std::string& volume, const std::string& target,
               const std::function<Status(uint64_t asked)>& work) {
  uint64_t requests = 0, asked = 0;
  Status done = UpdatePeer(volume, target, [&](PeerRecord& peer) {
    requests = peer.requests;
    asked = peer.asked;
  });
  if (done) done = work(asked);
  const Status remembered = UpdatePeer(volume, target, [&](PeerRecord& peer) {
    peer.last_try = ::time(nullptr);
    peer.error = done ? "" : done.error().text;
    if (!done) return;
    peer.last_success = peer.last_try;
    if (peer.requests == requests) peer.requests = 0;
  });
  if (done) return remembered;
  const std::string what = target.empty() ? "receiving" : "replication to " + target;
  ReportEvent(LOG_WARNING, kJobFailedEvent, volume, what + ": " + done.error().text);
  return done;
}

Status MakeFreshSnapshot(const std::string& volume) {
  auto live = LiveVolume::Open(volume);
  if (!live) return Pass(live);
  if (Status s = live->RequireUp(); !s) return s;
  if (live->config().source) return {};
  auto client = ControlClient::Connect(ServerSocket(volume));
  if (!client) return Pass(client);
  auto known = ServerVolume::Ask(*client);
  if (!known) return Pass(known);
  if (!known->snapshots.empty()) {
    auto still = OriginIsStill(*client, known->snapshots.back().tag);
    if (!still) return Pass(still);
    if (*still) return {};
  }
  auto tag = MakeSnapshot(*live, {kReplicaRotation});
  if (!tag) return Pass(tag);
  if (Status s = ExpireSnapshots(*live); !s) Warn(s.error().text);
  return {};
}

Result<Step> ChooseStep(const ServerVolume& volume, const std::optional<repl::ReceiveState>& state,
                        bool bookmarks) {
  const auto base_with = [&](Epoch epoch) {
    auto base = bookmarks ? volume.BaseWithEpoch(epoch) : volume.WithEpoch(epoch);
    // It is not what the other side got of it.
    if (base && !bookmarks && volume.WasWritten(*base))
      return Result<repl::SnapshotId>(
          Fail(ESTALE, repl::Describe(*base) + ": was written to since"));
    return base;
  };
  Step step;
  if (state && state->what.volume != volume.uuid)
    return Fail(ESTALE,
                "is a replica of volume " + FormatUuid(state->what.volume) + ", not of this one");
  if (volume.snapshots.empty()) return step;
  step.kind = Step::Kind::kStream;
  step.target = volume.snapshots.back();
  if (!state) return step;
  if (!state->complete) {
    auto target = volume.WithEpoch(state->what.target.epoch);
    const bool full = state->what.base.none;
    auto base = base_with(state->what.base.epoch);
    if (!target || (!full && !base)) {
      step.kind = Step::Kind::kGoBack;
      return step;
    }
    step.target = *target;
    if (!full) step.base = *base;
    step.begin = state->position;
    step.limit = state->limit;
    return step;
  }
  const uint64_t held = state->what.target.epoch;
  const auto newer = std::ranges::find_if(
      volume.snapshots, [held](const repl::SnapshotId& id) { return id.epoch > held; });
  if (newer == volume.snapshots.end()) return Step{};
  // Without a base that both have, everything has to go over again.
  if (auto base = base_with(held)) {
    step.base = *base;
    step.target = *newer;
  }
  return step;
}

namespace {

// A stream that was cut off left out where base and target were the same.  If somebody has written
// to the base meanwhile, that may be where the receiver has something else: it must begin again.
Result<bool> CanGoOn(const SendJob& job, const ServerVolume& volume,
                     const std::optional<repl::ReceiveState>& state, const Step& step) {
  if (!state || state->complete || !step.base || !volume.WasWritten(*step.base)) return true;
  auto records = RecordFolder::Default().Load(job.volume, FormatUuid(volume.uuid));
  if (!records) return Pass(records);
  return records->targets[job.target].unsure;
}

}  // namespace

Result<bool> SendNext(const SendJob& job, Connection& connection, ProgressLine& line) {
  const auto begun = Clock::now();
  if (job.link_failed != nullptr) *job.link_failed = true;
  repl::ReplyReader replies(connection.source);
  auto status = replies.Next();
  connection.sink.LimitReads(0);
  if (!status) return Fail(status.error().code, connection.sink.name() + ": no answer");
  if (job.link_failed != nullptr) *job.link_failed = false;
  if (status->kind == repl::Reply::Kind::kFail)
    return Fail(status->error.code, connection.sink.name() + ": " + status->error.text);
  auto volume = AskServerVolume(job.volume);
  if (!volume) return Pass(volume);
  auto step = ChooseStep(*volume, status->state, /*bookmarks=*/true);
  if (!step) return Fail(step.error().code, connection.sink.name() + ": " + step.error().text);
  auto sound = CanGoOn(job, *volume, status->state, *step);
  if (!sound) return Pass(sound);
  if (!*sound) step->kind = Step::Kind::kGoBack;
  if (Status s = RememberStep(job, *volume, status->state, *step); !s) return Pass(s);
  if (step->kind == Step::Kind::kNothing) return false;
  if (step->kind == Step::Kind::kGoBack) {
    if (Status s = SendBack(connection, replies); !s) return Pass(s);
    return true;
  }
  if (status->state && status->state->complete && !step->base)
    Warn(job.volume + ": " + job.target + ": the snapshot that it holds is gone here: all is sent");
  if (job.from_start) step->begin = 0;
  Round round;
  {
    // The snapshots' devices are closed before the base is given up.
    auto sender = PrepareSender(job, *step);
    if (!sender) return Pass(sender);
    round = SendOver(connection, replies, *sender, step->begin, step->limit, line);
  }
  if (job.link_failed != nullptr) *job.link_failed = round.again;
  if (!round.done) return std::unexpected(round.error);
  if (Status s = RememberArrival(job, *step, connection.sink.written(), begun); !s) return Pass(s);
  return true;
}

Status RequireTarget(const std::string& volume, const std::string& target) {
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return Pass(config);
  if (std::ranges::find(config->targets, target, &TargetConfig::name) != config->targets.end())
    return {};
  return Fail(ENOENT, volume + ": has no target " + target);
}

Status Replicate(const std::string& volume, const TargetConfig& target,
                 std::optional<uint64_t> shared, bool json) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto lock = CommandLock::OfTarget(volume, target.name);
  if (!lock) return Pass(lock);
  if (Status s = RequireTarget(volume, target.name); !s) return s;
  ProgressLine line(json, ProgressFileOf(volume, target.name));
  const SendJob job = {.volume = volume, .target = target.name, .rate_limit = target.rate_limit};
  return Attempt(volume, target.name, [&](uint64_t asked) {
    if (shared != asked)
      if (Status s = MakeFreshSnapshot(volume); !s) return s;
    const auto folder = FolderOfTarget(target.name);
    Status s = folder ? WriteAll(job, *folder, line) : SendAll(job, target.name, line);
    line.Clear();
    return s;
  });
}

}  // namespace ddsnap
