// SPDX-License-Identifier: GPL-2.0
// zumastor replicate NAME [TARGET] [--wait | --abort], zumastor run-deltas NAME
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "calendar.h"
#include "cli/options.h"
#include "commands.h"
#include "dm/dm.h"
#include "live_volume.h"
#include "receiving.h"
#include "replicating.h"
#include "report.h"
#include "service_manager.h"
#include "volume_lock.h"

namespace ddsnap {
namespace {

struct Options {
  std::string name, target;
  bool wait = false;
  bool abort = false;
  bool json = false;
};

// One of whom a volume is replicated with; the source has no name.
struct Peer {
  std::string name;
  std::string period;
};

std::vector<Peer> PeersWithPeriods(const VolumeConfig& config) {
  std::vector<Peer> peers;
  if (config.source) peers.push_back({"", config.source->period});
  for (const TargetConfig& target : config.targets) peers.push_back({target.name, target.period});
  return peers;
}

// What the words on the command line mean: all targets, or the source of a volume that has none.
Result<std::vector<Peer>> Chosen(const VolumeConfig& config, const std::string& name) {
  std::vector<Peer> peers = PeersWithPeriods(config);
  const bool targets = !config.targets.empty();
  std::erase_if(peers, [&](const Peer& peer) {
    if (!name.empty())
      return peer.name != name && !(peer.name.empty() && name == config.source->name);
    return peer.name.empty() && targets;
  });
  if (!peers.empty()) return peers;
  return Fail(ENOENT, config.name + (name.empty() ? ": has neither a target nor a source"
                                                  : ": has no target " + name));
}

PeerRecord RecordOf(const Peer& peer, const Records& records) {
  if (peer.name.empty()) return records.source;
  const auto known = records.targets.find(peer.name);
  return known == records.targets.end() ? PeerRecord() : known->second;
}

// Targets whose turns come soon after one another get the same snapshot: one is kept then as the
// base of all, and not one for each.
class SharedSnapshot {
 public:
  using Clock = std::chrono::steady_clock;

  // What another peer got will do for this one unless it has asked more often than this.  Nothing:
  // it will not.
  [[nodiscard]] std::optional<uint64_t> Asked(const Peer& peer) const {
    if (!made_ || Clock::now() - *made_ >= kRecent || had_.contains(peer.name)) return std::nullopt;
    return RecordOf(peer, before_).asked;
  }
  // The peer got it.  If none was `shared`, it was made after `begun` and after `before` was read.
  void Sent(const Peer& peer, bool shared, Clock::time_point begun, const Records& before) {
    if (!shared) {
      made_ = begun;
      before_ = before;
      had_.clear();
    }
    had_.insert(peer.name);
  }

 private:
  static constexpr std::chrono::minutes kRecent{5};
  std::optional<Clock::time_point> made_;
  Records before_;
  std::set<std::string> had_;
};

Status Work(const VolumeConfig& config, const Records& records, const Peer& peer,
            SharedSnapshot& shared, bool json) {
  if (peer.name.empty()) return Fetch(config.name, json);
  const auto target = std::ranges::find(config.targets, peer.name, &TargetConfig::name);
  const auto asked = shared.Asked(peer);
  const auto begun = SharedSnapshot::Clock::now();
  Status s = Replicate(config.name, *target, asked, json);
  if (s) shared.Sent(peer, asked.has_value(), begun, records);
  return s;
}

// Who is at work may have begun before what is wanted was there: its turn comes first.  Whoever
// stops that does not mean us to take over.
Status AwaitTurn(const VolumeConfig& config, const Peer& peer) {
  auto before = RecordsOf(config);
  if (!before) return Pass(before);
  while (CommandLock::HolderOfTarget(config.name, peer.name))
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  auto after = RecordsOf(config);
  if (!after) return Pass(after);
  if (RecordOf(peer, *after).aborted == RecordOf(peer, *before).aborted) return {};
  return Fail(ECANCELED, config.name + ": was stopped while it waited for its turn");
}

Status WorkInTurn(const VolumeConfig& config, const Peer& peer, SharedSnapshot& shared, bool json) {
  for (;;) {
    if (Status s = AwaitTurn(config, peer); !s) return s;
    auto records = RecordsOf(config);
    if (!records) return Pass(records);
    Status s = Work(config, *records, peer, shared, json);
    // Somebody else was quicker.
    if (s || s.error().code != EBUSY || !CommandLock::HolderOfTarget(config.name, peer.name))
      return s;
  }
}

Status WorkAll(const VolumeConfig& config, std::vector<Peer> peers, bool json) {
  // Those that nobody is at work on need not wait.
  std::ranges::stable_partition(peers, [&config](const Peer& peer) {
    return !CommandLock::HolderOfTarget(config.name, peer.name);
  });
  Status all;
  SharedSnapshot shared;
  for (const Peer& peer : peers) {
    Status s = WorkInTurn(config, peer, shared, json);
    if (!s && all) all = s;
    if (!s && peers.size() > 1) Warn(s.error().text);
  }
  return all;
}

Status Request(const VolumeConfig& config, const std::vector<Peer>& peers) {
  if (!dm::NumberOfName(OriginDmName(config.name)))
    return Fail(ENODEV, config.name + ": is not up; zumastor start " + config.name);
  const auto ask = [](PeerRecord& peer) {
    ++peer.requests;
    ++peer.asked;
  };
  for (const Peer& peer : peers)
    if (Status s = UpdatePeer(config.name, peer.name, ask); !s) return s;
  return Systemctl("start", {"--no-block", DeltaUnit(config.name)});
}

// A revert that is killed takes the volume down, and nothing is left to abort when it is over.
Status CheckNotGoingBack(const VolumeConfig& config) {
  if (!CommandLock::IsReceiving(config.name)) return {};
  auto status = AskVolume(config.name, {{"verb", "status"}});
  if (!status || !RevertUnderWay(*status)) return {};
  return Fail(EBUSY, config.name + ": is going back to the snapshot before");
}

// Of one, or of all: also who fetches, and what is received.
Status Abort(const VolumeConfig& config, const std::string& target) {
  auto records = RecordsOf(config);
  if (!records) return Pass(records);
  std::vector<std::string> names = PeersOf(config, *records);
  if (!target.empty()) {
    auto chosen = Chosen(config, target);
    if (!chosen) return Pass(chosen);
    names = {chosen->front().name};
  }
  for (const std::string& name : names) {
    Status s = UpdatePeer(config.name, name, [](PeerRecord& peer) {
      peer.requests = 0;
      peer.aborted = ::time(nullptr);
    });
    if (!s) return s;
  }
  if (std::ranges::find(names, "") != names.end())
    if (Status s = CheckNotGoingBack(config); !s) return s;
  // Also a unit that waits to be started again.
  if (Status s = Systemctl("stop", {DeltaUnit(config.name)}); !s) return s;
  (void)Systemctl("reset-failed", {DeltaUnit(config.name)});
  CommandLock::EndReplication(config.name, names);
  // The unit serves the other targets too, which nobody has stopped.
  if (target.empty() || PeersWithPeriods(config).size() < 2 ||
      !dm::NumberOfName(OriginDmName(config.name)))
    return {};
  return Systemctl("start", {"--no-block", DeltaUnit(config.name)});
}

Result<int> Run(const Options& options) {
  auto config = ConfigFolder::Default().Load(options.name);
  if (!config) return Pass(config);
  if (options.abort) {
    if (Status s = Abort(*config, options.target); !s) return Pass(s);
    return 0;
  }
  auto peers = Chosen(*config, options.target);
  if (!peers) return Pass(peers);
  const Status s = options.wait ? WorkAll(*config, *peers, options.json) : Request(*config, *peers);
  if (s) return 0;
  return std::unexpected(s.error());
}

// Requested, or its calendar has had a moment since all was there or it was stopped by hand.  A
// clock that was set back does not make anybody wait until it is where it was.
bool IsDueNow(const Peer& peer, const Records& records) {
  const PeerRecord record = RecordOf(peer, records);
  const time_t now = ::time(nullptr);
  if (record.requests > 0) return true;
  if (peer.period.empty()) return false;
  const time_t stopped = record.aborted > now ? 0 : record.aborted;
  const time_t last = std::max(record.last_success, stopped);
  return last == 0 || last > now || CalendarIsDue(peer.period, last, now);
}

// Until nothing is due but what has failed: requests may come meanwhile.
Result<int> RunDue(const std::string& name) {
  std::set<std::string> failed;
  SharedSnapshot shared;
  Status all;
  for (;;) {
    auto config = ConfigFolder::Default().Load(name);
    if (!config) return Pass(config);
    auto records = RecordsOf(*config);
    if (!records) return Pass(records);
    const auto peers = PeersWithPeriods(*config);
    auto next = peers.end();
    for (auto peer = peers.begin(); peer != peers.end(); ++peer) {
      if (failed.contains(peer->name) || !IsDueNow(*peer, *records)) continue;
      // One that is always due must not keep the others from their turn.
      if (next == peers.end() ||
          RecordOf(*peer, *records).last_try < RecordOf(*next, *records).last_try)
        next = peer;
    }
    if (next == peers.end()) break;
    Status s = Work(*config, *records, *next, shared, /*json=*/false);
    if (s) continue;
    failed.insert(next->name);
    if (!all) Warn(all.error().text);
    all = s;
  }
  if (all) return 0;
  return std::unexpected(all.error());
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("NAME", &options->name, "the volume").Required();
  args.Add("TARGET", &options->target, "one of its targets; without it, all");
  Argument wait = args.AddFlag("--wait", &options->wait, "return when it is done");
  args.AddFlag("--abort", &options->abort, "stop what is under way; it goes on another time")
      .Excludes(wait);
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

Action DeclareJob(Arguments& args) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "the volume").Required();
  return [name] { return RunDue(*name); };
}

}  // namespace

const Command kReplicate = {"replicate",
                            {},
                            "send a volume's targets what they lack, or fetch it from its source",
                            Declare};
const Command kRunDeltas = {.name = "run-deltas",
                            .aliases = {},
                            .help = "replicate what is due",
                            .declare = DeclareJob,
                            .internal = true};

}  // namespace ddsnap
