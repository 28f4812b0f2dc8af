// SPDX-License-Identifier: GPL-2.0
#include "going_back.h"

#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "replica.h"
#include "report.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

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

}  // namespace

Status GoBackLocked(const VolumeConfig& config) {
  repl::FileReceiveLog log = ReceiveLogOf(config);
  auto state = log.Load();
  if (!state) return Pass(state);
  auto volume = LiveVolume::Open(config.name);
  if (!volume) return Pass(volume);
  if (!*state || (*state)->complete) return AcceptTorn(*volume);
  const auto before = (*state)->before;
  auto usable = before ? IsUsable(*volume, before->tag) : Result<bool>(false);
  if (!usable) return Pass(usable);
  if (!*usable) return GiveUpState(*volume, log);
  const TerminationIgnored to_the_end;
  auto reverted = volume->Revert(before->tag, [](uint64_t, uint64_t) {});
  if (!reverted) return Pass(reverted);
  if (Status s = RememberOld(log, **state); !s) return s;
  return ForgetFailure(*volume);
}

Status GiveUpHopeless(const VolumeConfig& config) {
  repl::FileReceiveLog log = ReceiveLogOf(config);
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

Status GoBack(const std::string& volume) {
  auto config = ReplicaConfig(volume);
  if (!config) return Pass(config);
  if (Status s = RequireReplicaUp(*config); !s) return s;
  auto lock = CommandLock::OfReceiving(volume);
  if (!lock) return Pass(lock);
  return GoBackLocked(*config);
}

Result<Reverted> RevertVolume(const std::string& name, Tag tag,
                              const LiveVolume::RevertProgress& progress) {
  auto config = ConfigFolder::Default().Load(name);
  if (config && config->source) config = ReplicaConfig(name);
  if (!config) return Pass(config);
  // How far a stream was is not known either.
  if (config->source)
    if (auto records = RecordsOf(*config); !records) return Pass(records);
  repl::FileReceiveLog log = ReceiveLogOf(*config);
  std::optional<TerminationIgnored> to_the_end;
  if (config->source) to_the_end.emplace();
  auto lock =
      config->source ? CommandLock::OfReceiving(name) : Result<CommandLock>(Fail(0, "no replica"));
  if (config->source && !lock) return Pass(lock);
  auto state = config->source ? log.Load() : std::nullopt;
  if (!state) return Pass(state);
  auto volume = LiveVolume::Open(name);
  if (!volume) return Pass(volume);
  auto reverted = volume->Revert(tag, progress);
  if (!reverted || !config->source) return reverted;
  // Also if it is another snapshot than the one before: what comes next is compared with that.
  const bool partial = *state && !(*state)->complete;
  if (partial)
    if (Status s = RememberOld(log, **state); !s) return Pass(s);
  // What came last, or what nothing came after: it is as it should be.
  const bool right = partial || !*state || ((*state)->after && (*state)->after->tag == tag);
  if (right)
    if (Status s = ForgetFailure(*volume); !s) return Pass(s);
  return reverted;
}

}  // namespace ddsnap
