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

#include "../server_volume.h"
#include "../snapshot_device.h"
#include "going_back.h"
#include "host/event_queue.h"
#include "live_volume.h"
#include "receive_request.h"
#include "remote_link.h"
#include "replica.h"
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
  Status s =
      first == kGoBackRequest ? GoBackLocked(config) : ReceiveStream(config, source, replies, line);
  if (s) return true;
  if (s.error().code == ESTALE)
    if (Status given_up = GiveUpHopeless(config); !given_up) Warn(given_up.error().text);
  return Pass(s);
}

// What came last, and is in the records, on devices and in folders by now.
Result<std::optional<repl::ReceiveState>> StateNow(const VolumeConfig& config) {
  if (Status s = RequireReplicaUp(config); !s) return Pass(s);
  repl::FileReceiveLog log = ReceiveLogOf(config);
  auto volume = LiveVolume::Open(config.name);
  if (!volume) return Pass(volume);
  if (Status s = AdoptEarlier(*volume, log); !s) return Pass(s);
  return log.Load();
}

// A failure that is over: the other side has nothing that was not received, and what was received
// is there.
Status ForgetOldFailure(const VolumeConfig& config,
                        const std::optional<repl::ReceiveState>& state) {
  auto records = RecordsOf(config);
  if (!records) return Pass(records);
  if (records->source.error.empty() || !state || !state->complete || !state->after) return {};
  auto client = ControlClient::Connect(ServerSocket(config.name));
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  auto last = volume->WithTag(state->after->tag);
  auto origin = repl::ContentDevice::OpenToRead(OriginPath(config.name));
  if (!last || !origin) return {};
  auto holds = OriginHolds(*client, ServerSocket(config.name), *volume, *last, **origin);
  if (!holds) return Pass(holds);
  if (!*holds) return {};
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

}  // namespace ddsnap
