// SPDX-License-Identifier: GPL-2.0
#include "receiving.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <thread>

#include "../delta_receiver.h"
#include "dm/dm.h"
#include "host/event_queue.h"
#include "live_volume.h"
#include "receive_request.h"
#include "remote_link.h"
#include "replicating.h"
#include "report.h"
#include "snapshot_mounts.h"
#include "snapshotting.h"
#include "verify_answers.h"
#include "volume/rotation.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 3;
constexpr auto kPause = std::chrono::seconds(2);
constexpr char kNoSnapshot[] = "--no-snapshot";

// A stream whose first bytes have been read already.  It counts.
class BegunSource : public repl::ByteSource {
 public:
  BegunSource(std::span<const std::byte> begin, repl::ByteSource& rest)
      : begin_(begin), rest_(rest) {}
  [[nodiscard]] Result<size_t> Read(std::span<std::byte> out) override {
    const size_t n = std::min(begin_.size(), out.size());
    std::memcpy(out.data(), begin_.data(), n);
    begin_ = begin_.subspan(n);
    auto more = rest_.Read(out.subspan(n));
    if (!more) return more;
    bytes_ += n + *more;
    return n + *more;
  }
  [[nodiscard]] bool rewindable() const override { return false; }
  [[nodiscard]] Status Rewind() override { return Fail(ESPIPE, name() + ": cannot be read again"); }
  [[nodiscard]] const std::string& name() const override { return rest_.name(); }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  std::span<const std::byte> begin_;
  repl::ByteSource& rest_;
  uint64_t bytes_ = 0;
};

// The volume's configuration, if it may receive.
Result<VolumeConfig> ReplicaConfig(const std::string& volume) {
  auto config = ConfigFolder::Default().Load(volume);
  if (!config) return config;
  if (!config->source)
    return Fail(EPERM, volume + ": is no replica: zumastor define source " + volume +
                           " HOST, and it becomes one");
  return config;
}

// What the volume has received, without waking its server.  Named as `ddsnap delta receive` does.
repl::FileReceiveLog LogOf(const VolumeConfig& config) {
  return repl::FileReceiveLog(repl::FileReceiveLog::DefaultPath("volume-" + config.uuid));
}

}  // namespace

Result<DeltaReceiver> FindReceiver(const VolumeConfig& config) {
  ReceiverOptions options;
  options.device = OriginPath(config.name);
  options.server = ServerSocket(config.name);
  options.state = LogOf(config).path();
  return DeltaReceiver::Find(options);
}

namespace {

Status RequireUp(const VolumeConfig& config) {
  if (dm::NumberOfName(OriginDmName(config.name))) return {};
  return Fail(ENODEV, config.name + ": is not up; zumastor start " + config.name);
}

Result<bool> IsUsable(const LiveVolume& volume, Tag tag) {
  auto snapshots = volume.Snapshots();
  if (!snapshots) return Pass(snapshots);
  return std::ranges::any_of(*snapshots,
                             [tag](const LiveSnapshot& s) { return s.ok() && s.tag == tag; });
}

// Devices, folders and the mount point show what came last; what is too old goes.
void Present(LiveVolume& volume, Tag newest) {
  if (Status s = volume.AttachSnapshot(newest); !s) Warn(s.error().text);
  if (auto now = volume.Snapshots())
    if (Status s = SyncSnapshotMounts(volume, *now); !s) Warn(s.error().text);
  if (Status s = ShowReplica(volume, /*wait=*/true); !s) Warn(s.error().text);
  if (Status s = ExpireSnapshots(volume); !s) Warn(s.error().text);
}

}  // namespace

Status Adopt(LiveVolume& volume, const repl::ReceiveState& state,
             const std::function<void(PeerRecord&)>& change) {
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  const Tag tag = state.after->tag;
  auto& rotations = records->snapshots[tag].rotations;
  if (std::ranges::find(rotations, kReceivedRotation) == rotations.end())
    rotations.emplace_back(kReceivedRotation);
  records->next_tag = std::max(records->next_tag, tag + 1);
  records->source.held = tag;
  records->source.torn = false;
  records->source.held_created = state.what.target.created_ns / 1'000'000'000;
  change(records->source);
  if (Status s = volume.SaveRecords(*records); !s) return s;
  Present(volume, tag);
  return {};
}

namespace {

// The same as Adopt, later, for a process that has died before it could do that.  A replica whose
// snapshot of what came last is gone is one that nobody can tell what it holds: it starts anew.
Status AdoptEarlier(LiveVolume& volume, repl::FileReceiveLog& log) {
  auto state = log.Load();
  if (!state) return Pass(state);
  if (!*state || !(*state)->complete) return {};
  auto usable = (*state)->after ? IsUsable(volume, (*state)->after->tag) : Result<bool>(false);
  if (!usable) return Pass(usable);
  if (!*usable) {
    Warn(volume.name() + ": the snapshot that came last is gone: everything has to come again");
    return log.Forget();
  }
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  if (records->source.held == (*state)->after->tag) {
    Present(volume, (*state)->after->tag);
    return {};
  }
  return Adopt(volume, **state, [](PeerRecord& peer) {
    peer.last_success = ::time(nullptr);
    peer.error.clear();
  });
}

Status ReceiveStream(const VolumeConfig& config, BegunSource& source, repl::ReplyWriter& replies,
                     ProgressLine& line) {
  const std::string& name = config.name;
  const auto begun = Clock::now();
  auto receiver = FindReceiver(config);
  if (!receiver) return Pass(receiver);
  if (Status s = receiver->Open(); !s) return s;
  // A lost acknowledgement is made good by the next connection's status.
  auto summary = receiver->Receive(source, line, [&replies](uint64_t position) -> Status {
    (void)replies.PutAck(position);
    return {};
  });
  line.Clear();
  if (!summary) return Pass(summary);
  auto state = receiver->log().Load();
  if (!state) return Pass(state);
  if (!*state || !(*state)->after) return Fail(EIO, name + ": the receive state is gone");
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  return Adopt(*volume, **state, [&](PeerRecord& peer) {
    peer.last_try = peer.last_success = ::time(nullptr);
    peer.error.clear();
    peer.bytes = source.bytes();
    peer.milliseconds = static_cast<uint64_t>(took.count());
  });
}

// Nothing is left of what failed last: the volume is a snapshot again.
Status ForgetFailure(const LiveVolume& volume) {
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  if (records->source.error.empty() && !records->source.torn) return {};
  records->source.error.clear();
  records->source.torn = false;
  return volume.SaveRecords(*records);
}

// Whoever receives next, or makes it no replica any more, waits or comes again: a revert that is
// killed takes the volume down.
class TerminationIgnored {
 public:
  TerminationIgnored() : before_(std::signal(SIGTERM, SIG_IGN)) {}
  TerminationIgnored(const TerminationIgnored&) = delete;
  TerminationIgnored& operator=(const TerminationIgnored&) = delete;
  ~TerminationIgnored() { (void)std::signal(SIGTERM, before_); }

 private:
  void (*before_)(int);
};

// A stream was cut off, and the snapshot of what was there before is gone too.
Status GiveUpState(const LiveVolume& volume, repl::FileReceiveLog& log) {
  Warn(volume.name() +
       ": there is no snapshot to go back to: it is no state that ever was, and everything has to "
       "come again");
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  records->source.torn = true;
  if (Status s = volume.SaveRecords(*records); !s) return s;
  return log.Forget();
}

// What nothing is the sum of: whoever resumes sees that the device is not what it was.
constexpr repl::ReceiveState::Written kReverted = {.offset = 0, .length = 512, .sum = {}};

// Brings the origin to a snapshot, and first says that nothing of a stream that was cut off can be
// believed any more: a part of a full one may be the same before and after, and tell nothing.
Result<Reverted> RevertReplica(LiveVolume& volume, repl::FileReceiveLog& log,
                               const repl::ReceiveState& state, Tag tag,
                               const LiveVolume::RevertProgress& progress) {
  repl::ReceiveState marked = state;
  marked.position = marked.limit = 0;
  marked.last = kReverted;
  if (Status s = log.Save(marked); !s) return Pass(s);
  const TerminationIgnored to_the_end;
  auto reverted = volume.Revert(tag, progress);
  if (reverted) return reverted;
  const bool untouched = reverted.error().code == EBUSY || reverted.error().code == ENOSPC;
  if (untouched)
    if (Status s = log.Save(state); !s) return Pass(s);
  return reverted;
}

// The origin is what it was before the stream that was cut off.  Of a full one, or one onto what
// nobody knew, that says nothing that a sender could go on from.
Status RememberOld(repl::FileReceiveLog& log, repl::ReceiveState state) {
  if (!state.before || state.what.base.none) return log.Forget();
  state.complete = true;
  state.what.target = state.what.base;
  state.what.base = {.none = true};
  state.position = state.limit = state.what.target.size;
  state.last.reset();
  state.after = std::exchange(state.before, std::nullopt);
  if (Status s = log.Save(state); !s) return s;
  return log.DropRedo();
}

// Who has been told that there is no way back, and asks again, keeps what there is.
Status AcceptTorn(const LiveVolume& volume) {
  auto records = volume.LoadRecords();
  if (!records) return Pass(records);
  if (records->source.torn) return ForgetFailure(volume);
  return Fail(ENOENT,
              volume.name() + ": is not in the midst of a stream: there is nothing to abort");
}

Status GoBackLocked(const std::string& name, repl::FileReceiveLog log) {
  auto state = log.Load();
  if (!state) return Pass(state);
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  if (!*state || (*state)->complete) return AcceptTorn(*volume);
  const auto before = (*state)->before;
  auto usable = before ? IsUsable(*volume, before->tag) : Result<bool>(false);
  if (!usable) return Pass(usable);
  if (!*usable) return GiveUpState(*volume, log);
  auto reverted = RevertReplica(*volume, log, **state, before->tag, [](uint64_t, uint64_t) {});
  if (!reverted) return Pass(reverted);
  if (Status s = RememberOld(log, **state); !s) return s;
  return ForgetFailure(*volume);
}

// That a comparison failed is the other side's to report: nothing is wrong with what was received.
Result<bool> Verify(const VolumeConfig& config, BegunSource& source, repl::ReplyWriter& replies) {
  bool mending = false;
  Status s = AnswerVerification(config, source, replies, &mending);
  if (s) return true;
  if (mending) return Pass(s);
  Warn(s.error().text);
  (void)replies.PutFail(s.error());
  return false;
}

// A stream that was refused, and that only a snapshot could vouch for which is gone: no other try
// would be taken, but one that sends everything.
Status GiveUpHopeless(const VolumeConfig& config) {
  repl::FileReceiveLog log = LogOf(config);
  auto state = log.Load();
  if (!state) return Pass(state);
  if (!*state || (*state)->complete || !(*state)->vouched) return {};
  auto volume = LiveVolume::Open(config.name);
  if (!volume) return Pass(volume);
  const auto before = (*state)->before;
  auto usable = before ? IsUsable(*volume, before->tag) : Result<bool>(false);
  if (!usable) return Pass(usable);
  return *usable ? Status() : GiveUpState(*volume, log);
}

// What was sent, by its first bytes.  The lock ends who has received before.  False: the other side
// has been told how it ended.
Result<bool> TakeRequest(const VolumeConfig& config, const ReceiveRequest& first,
                         Connection& connection, repl::ReplyWriter& replies, ProgressLine& line) {
  auto lock = CommandLock::OfReceiving(config.name);
  if (!lock) return Pass(lock);
  // It may have ceased to be a replica since its state was told.
  auto now = ReplicaConfig(config.name);
  if (!now) return Pass(now);
  if (now->uuid != config.uuid) return Fail(ESTALE, config.name + ": is another volume by now");
  BegunSource source(std::as_bytes(std::span(first)), connection.source);
  if (first == kVerifyRequest) return Verify(config, source, replies);
  Status s = first == kGoBackRequest ? GoBackLocked(config.name, LogOf(config))
                                     : ReceiveStream(config, source, replies, line);
  if (s) return true;
  if (s.error().code == ESTALE)
    if (Status given_up = GiveUpHopeless(config); !given_up) Warn(given_up.error().text);
  return Pass(s);
}

// What came last, and is in the records, on devices and in folders by now.
Result<std::optional<repl::ReceiveState>> StateNow(const VolumeConfig& config) {
  if (Status s = RequireUp(config); !s) return Pass(s);
  repl::FileReceiveLog log = LogOf(config);
  auto volume = LiveVolume::Open(config.name);
  if (!volume) return Pass(volume);
  if (Status s = AdoptEarlier(*volume, log); !s) return Pass(s);
  return log.Load();
}

// A failure that is over: the other side has nothing that was not received, and what was received
// is there.
Status ForgetOldFailure(const VolumeConfig& config,
                        const std::optional<repl::ReceiveState>& state) {
  auto records = RecordFolder::Default().Load(config.name, config.uuid);
  if (!records) return Pass(records);
  if (records->source.error.empty() || !state || !state->complete || !state->after) return {};
  auto client = ControlClient::Connect(ServerSocket(config.name));
  if (!client) return Pass(client);
  auto still = OriginIsStill(*client, state->after->tag);
  if (!still) return Pass(still);
  if (!*still) return {};
  return UpdatePeer(config.name, "", [](PeerRecord& peer) { peer.error.clear(); });
}

// As this side is called in the records of the other.
std::string OwnName(const std::string& volume) {
  utsname host{};
  (void)::uname(&host);
  const std::string name = std::string(host.nodename) + ":" + volume;
  return CheckTargetName(name) ? name : "unnamed:" + volume;
}

// Everything that the source has, one snapshot a connection.
Status FetchAll(const std::string& volume, const std::string& source, ProgressLine& line) {
  auto remote = ParseRemote(source);
  if (!remote) return Pass(remote);
  const std::string theirs = remote->volume.empty() ? volume : remote->volume;
  std::vector<std::string> command = {"zumastor", "send", theirs, "--to", OwnName(volume)};
  for (int failures = 0;;) {
    auto link = RemoteLink::Open(remote->host, command);
    if (!link) return Pass(link);
    auto more = ReceiveInto(volume, (*link)->connection(), line);
    line.Clear();
    if (more && *more) {
      // One fresh snapshot is enough: those of a volume in use would have no end.
      if (command.back() != kNoSnapshot) command.emplace_back(kNoSnapshot);
      failures = 0;
      continue;
    }
    if (more && (*link)->Close() == 0) return {};
    const Error why = (*link)->Explain(more ? Error{EIO, "no answer"} : more.error());
    if (++failures >= kTries) return std::unexpected(why);
    std::this_thread::sleep_for(kPause);
  }
}

// The other side shall read our last word: closing with unread input would lose it.
void LetRead(Connection& connection) {
  connection.sink.Finish();
  std::byte waste[65536];
  for (int i = 0; i < 4096; ++i) {
    auto n = connection.source.Read(waste);
    if (!n || *n == 0) return;
  }
}

}  // namespace

Result<bool> ReceiveInto(const std::string& volume, Connection& connection, ProgressLine& line) {
  repl::ReplyWriter replies(connection.sink);
  const auto refuse = [&](const Error& error) {
    (void)replies.PutFail(error);
    LetRead(connection);
    return std::unexpected(error);
  };
  auto config = ReplicaConfig(volume);
  if (!config) return refuse(config.error());
  auto state = StateNow(*config);
  if (!state) return refuse(state.error());
  if (Status s = replies.PutStatus(*state); !s) return Pass(s);
  ReceiveRequest first{};
  auto n = connection.source.Read(std::as_writable_bytes(std::span(first)));
  if (!n) return Pass(n);
  if (*n == 0) {
    if (Status s = ForgetOldFailure(*config, *state); !s) Warn(s.error().text);
    return false;
  }
  if (*n < first.size()) return refuse({EBADMSG, connection.sink.name() + ": cut off at once"});
  // From here on nothing may come for long: zeroes upstream are read, and not sent.
  connection.sink.LimitReads(0);
  auto done = TakeRequest(*config, first, connection, replies, line);
  if (!done) return refuse(done.error());
  if (*done) (void)replies.PutDone(0);
  LetRead(connection);
  return true;
}

Status Fetch(const std::string& volume, bool json) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto config = ReplicaConfig(volume);
  if (!config) return Pass(config);
  auto lock = CommandLock::OfTarget(volume, "");
  if (!lock) return Pass(lock);
  ProgressLine line(json, ProgressFileOf(volume, ""));
  return Attempt(volume, "", [&](uint64_t) {
    Status s = FetchAll(volume, config->source->name, line);
    line.Clear();
    return s;
  });
}

void RememberRefusal(const std::string& volume, const Error& error) {
  if (!ReplicaConfig(volume)) return;
  const Status s = UpdatePeer(volume, "", [&error](PeerRecord& peer) {
    peer.last_try = ::time(nullptr);
    peer.error = error.text;
  });
  if (!s) Warn(s.error().text);
  ReportEvent(LOG_WARNING, kJobFailedEvent, volume, "receiving: " + error.text);
}

Result<bool> IsBetweenSnapshots(const VolumeConfig& config) {
  auto state = LogOf(config).Load();
  if (!state) return Pass(state);
  return *state && !(*state)->complete;
}

Status GoBack(const std::string& volume) {
  auto config = ReplicaConfig(volume);
  if (!config) return Pass(config);
  if (Status s = RequireUp(*config); !s) return s;
  auto lock = CommandLock::OfReceiving(volume);
  if (!lock) return Pass(lock);
  return GoBackLocked(volume, LogOf(*config));
}

Result<Reverted> RevertVolume(const std::string& name, Tag tag,
                              const LiveVolume::RevertProgress& progress) {
  auto config = ConfigFolder::Default().Load(name);
  if (!config) return Pass(config);
  repl::FileReceiveLog log = LogOf(*config);
  std::optional<TerminationIgnored> to_the_end;
  if (config->source) to_the_end.emplace();
  auto lock =
      config->source ? CommandLock::OfReceiving(name) : Result<CommandLock>(Fail(0, "no replica"));
  if (config->source && !lock) return Pass(lock);
  auto state = config->source ? log.Load() : std::nullopt;
  if (!state) return Pass(state);
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  if (!*state || (*state)->complete) {
    auto reverted = volume->Revert(tag, progress);
    if (reverted && config->source && !*state)
      if (Status s = ForgetFailure(*volume); !s) return Pass(s);
    return reverted;
  }
  auto reverted = RevertReplica(*volume, log, **state, tag, progress);
  if (!reverted || !(*state)->before || (*state)->before->tag != tag) return reverted;
  if (Status s = RememberOld(log, **state); !s) return Pass(s);
  if (Status s = ForgetFailure(*volume); !s) return Pass(s);
  return reverted;
}

Status ForgetReceived(const VolumeConfig& config) {
  repl::FileReceiveLog log = LogOf(config);
  auto state = log.Load();
  if (!state) return Pass(state);
  if (*state && !(*state)->complete)
    return Fail(EBUSY, config.name +
                           ": is in the midst of a stream, and no state that ever was; "
                           "zumastor receive " +
                           config.name + " --abort goes back to the snapshot before");
  auto records = RecordFolder::Default().Load(config.name, config.uuid);
  if (!records) return Pass(records);
  if (records->source.torn)
    return Fail(EBUSY, config.name +
                           ": is no state that ever was: zumastor revert brings it to a snapshot, "
                           "and zumastor receive " +
                           config.name + " --abort keeps it as it is");
  return log.Forget();
}

}  // namespace ddsnap
