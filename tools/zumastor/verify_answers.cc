// SPDX-License-Identifier: GPL-2.0
#include "verify_answers.h"

#include <cerrno>
#include <optional>

#include "../delta_receiver.h"
#include "../snapshot_device.h"
#include "base/uuid.h"
#include "receiving.h"
#include "replica.h"
#include "repl/compare.h"
#include "volume/volume_config.h"

namespace ddsnap {
namespace {

// Snapshots of what was mended have tags from here on: the low ones are for what comes from
// upstream, which shall be called here as it is there.
constexpr Tag kFirstMended = 1'000'000'000;

Status CheckSize(const repl::ContentDevice& device, const repl::VerifyHead& head) {
  if (device.size() >= head.what.target.size) return {};
  return Fail(ESTALE, device.name() + ": is smaller than " + repl::Describe(head.what.target));
}

// The replica's snapshot of what the other side wants compared.
Result<repl::SnapshotId> SnapshotOf(const std::string& name, const repl::VerifyHead& head,
                                    const std::optional<repl::ReceiveState>& state,
                                    const ServerVolume& volume) {
  const std::string what = repl::Describe(head.what.target);
  if (!state || state->what.volume != head.what.volume)
    return Fail(ESTALE, name + ": is no replica of volume " + FormatUuid(head.what.volume));
  if (!state->complete)
    return Fail(EBUSY, name + ": is in the midst of a stream: it holds " + what + " no more");
  if (state->what.target.epoch != head.what.target.epoch ||
      state->what.target.size != head.what.target.size)
    return Fail(ESTALE,
                name + ": holds " + repl::Describe(state->what.target) + " by now, not " + what);
  auto mine = state->after ? volume.WithTag(state->after->tag)
                           : Result<repl::SnapshotId>(Fail(ENOENT, ""));
  if (mine) return mine;
  return Fail(ENOENT, name + ": its snapshot of " + what + " is gone: receive the next one first");
}

class Verification {
 public:
  Verification(const std::string& name, repl::VerifyReader& asks, repl::ReplyWriter& replies,
               DeltaReceiver receiver)
      : name_(name),
        socket_(ServerSocket(name)),
        asks_(asks),
        replies_(replies),
        receiver_(std::move(receiver)) {}

  [[nodiscard]] Status Run() {
    auto state = receiver_.log().Load();
    if (!state) return Pass(state);
    auto volume = AskServer();
    if (!volume) return Pass(volume);
    auto mine = SnapshotOf(name_, asks_.head(), *state, *volume);
    if (!mine) return Pass(mine);
    return asks_.head().mend ? Mend(**state) : Compare(*volume, *mine);
  }

 private:
  // Each time anew: it may have been restarted in the hours between.
  [[nodiscard]] Result<ServerVolume> AskServer() {
    auto client = ControlClient::Connect(socket_);
    if (!client) return Pass(client);
    client_.emplace(std::move(*client));
    return ServerVolume::Ask(*client_);
  }

  [[nodiscard]] Status Compare(const ServerVolume& volume, const repl::SnapshotId& mine) {
    auto device = OpenSnapshot(socket_, volume.uuid, mine);
    if (!device) return Pass(device);
    if (Status s = CheckSize(**device, asks_.head()); !s) return s;
    if (auto answered = repl::Answer(asks_, **device, replies_); !answered) return Pass(answered);
    auto origin = repl::ContentDevice::OpenToRead(OriginPath(name_));
    if (!origin) return Pass(origin);
    auto now = AskServer();
    if (!now) return Pass(now);
    auto same = OriginHolds(*client_, socket_, *now, mine, **origin);
    if (!same && !repl::IsLost(same.error())) return Pass(same);
    return replies_.PutSnapshot(mine.tag, same && *same);
  }

  // Each chunk that is written was wrong before.  Until the new snapshot is there the origin is not
  // what the state says: nothing is received on it that counts on that.
  [[nodiscard]] Status Mend(const repl::ReceiveState& state) {
    if (Status s = receiver_.Open(); !s) return s;
    if (Status s = CheckSize(receiver_.device(), asks_.head()); !s) return s;
    if (auto done = repl::Answer(asks_, receiver_.device(), replies_); !done) return Pass(done);
    auto made = MakeSnapshot(state);
    if (!made) return Pass(made);
    auto live = LiveVolume::Open(name_);
    if (!live) return Pass(live);
    if (Status s = Adopt(*live, *made, [](PeerRecord&) {}); !s) return s;
    return replies_.PutSnapshot(made->after->tag, true);
  }

  // Of what the origin is now.  If nobody comes to note it in the state, it is as if the repair had
  // been cut off before.
  [[nodiscard]] Result<repl::ReceiveState> MakeSnapshot(repl::ReceiveState state) {
    auto volume = AskServer();
    if (!volume) return Pass(volume);
    if (!volume->snapshots.empty()) AwaitNextSecond(volume->snapshots.back());
    for (Tag tag = kFirstMended; tag != kMaxTag; ++tag) {
      if (volume->WithTag(tag)) continue;
      auto made = client_->Call({{"verb", "create"}, {"tag", tag}});
      // One that is given up, or about to go.
      if (!made && made.error().code == EEXIST) continue;
      if (!made) return Pass(made);
      state.after = repl::LocalSnapshot(tag, made->value("epoch", Epoch{0}));
      if (Status s = receiver_.log().Save(state); !s) return Pass(s);
      return state;
    }
    return Fail(EEXIST, name_ + ": there is no tag left");
  }

  const std::string name_, socket_;
  repl::VerifyReader& asks_;
  repl::ReplyWriter& replies_;
  DeltaReceiver receiver_;
  std::optional<ControlClient> client_;
};

}  // namespace

Status AnswerVerification(const VolumeConfig& config, repl::ByteSource& source,
                          repl::ReplyWriter& replies, bool* mending) {
  auto asks = repl::VerifyReader::Open(source);
  if (!asks) return Pass(asks);
  *mending = asks->head().mend;
  auto receiver = FindReceiver(config);
  if (!receiver) return Pass(receiver);
  return Verification(config.name, *asks, replies, std::move(*receiver)).Run();
}

}  // namespace ddsnap
