// SPDX-License-Identifier: GPL-2.0
#include "reverting.h"

#include <unistd.h>

#include <cerrno>

#include "cli/options.h"
#include "control_verb.h"
#include "repl/receive_state.h"
#include "wire/control.h"
#include "wire/json.h"

namespace ddsnap {
namespace {

using Json = nlohmann::json;

constexpr int kEndTries = 150;  // a server that is restarted meanwhile is waited for
constexpr useconds_t kEndWaitUs = 200000;

struct Plan {
  std::string uuid;  // of the volume
  uint64_t chunk_size = 0, origin_size = 0, free_chunks = 0;
  uint64_t size = 0;          // of the snapshot
  std::optional<Tag> newest;  // of the snapshots that are good
  bool under_way = false;
};

std::string Name(Tag tag) { return "snapshot " + std::to_string(tag); }

Result<Plan> MakePlan(const RevertRequest& request) {
  auto status = AskServer(request.socket, {{"verb", "status"}});
  if (!status) return Pass(status);
  auto uuid = Field<std::string>(*status, "volume_uuid");
  auto chunk = Field<uint64_t>(*status, "chunk_size");
  auto origin = Field<uint64_t>(*status, "origin_size");
  auto free = Field<uint64_t>(status->value("store", Json::object()), "free_chunks");
  if (!uuid || !chunk || !origin || !free) return Fail(EPROTO, "server's answer is incomplete");
  Plan plan{*uuid, *chunk, *origin, *free, 0, {}, RevertUnderWay(*status) == request.tag};
  for (const Json& entry : status->value("snapshots", Json::array())) {
    auto tag = wire::GetNumber(entry, "tag", 0, kMaxTag);
    auto state = Field<std::string>(entry, "state");
    auto size = Field<uint64_t>(entry, "size");
    if (!tag || !state || !size) return Fail(EPROTO, "server's answer is incomplete");
    if (*state == "ok") plan.newest = static_cast<Tag>(*tag);
    if (static_cast<Tag>(*tag) != request.tag || *state == "deleting") continue;
    if (*state == "bookmark")
      return Fail(ESTALE, Name(request.tag) + ": is a bookmark, without contents");
    if (*state != "ok") return Fail(ESTALE, Name(request.tag) + ": was given up");
    plan.size = *size;
  }
  if (plan.size == 0) return Fail(ENOENT, Name(request.tag) + ": does not exist");
  if (plan.size > plan.origin_size)
    return Fail(ENOSPC,
                Name(request.tag) + ": has " + std::to_string(plan.size) +
                    " bytes, the origin is smaller now: " + std::to_string(plan.origin_size));
  return plan;
}

Result<std::vector<ChunkRange>> ChangedSince(const std::string& socket, Tag tag) {
  std::vector<ChunkRange> ranges;
  auto client = ControlClient::Connect(socket);
  if (!client) return Pass(client);
  auto answer = client->Call({{"verb", "changelist"}, {"from", tag}, {"to", -1}},
                             [&ranges](const ChunkRange& range) {
                               ranges.push_back(range);
                               return Status();
                             });
  if (!answer) return Pass(answer);
  return ranges;
}

uint64_t Chunks(const std::vector<ChunkRange>& ranges) {
  uint64_t chunks = 0;
  for (const ChunkRange& range : ranges) chunks += range.count;
  return chunks;
}

// How many chunks both have; the lists ascend.
uint64_t Common(const std::vector<ChunkRange>& a, const std::vector<ChunkRange>& b) {
  uint64_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint64_t from = std::max(a[i].chunk, b[j].chunk);
    const uint64_t a_end = a[i].chunk + a[i].count, b_end = b[j].chunk + b[j].count;
    if (from < std::min(a_end, b_end)) common += std::min(a_end, b_end) - from;
    (a_end < b_end ? i : j) += 1;
  }
  return common;
}

// What the newest snapshot still shares with the origin is copied before it is written.
Status CheckSpace(const RevertRequest& request, const Plan& plan,
                  const std::vector<ChunkRange>& ranges) {
  if (plan.under_way || !plan.newest || *plan.newest == request.tag) return {};
  auto newer = ChangedSince(request.socket, *plan.newest);
  if (!newer) return Pass(newer);
  const uint64_t need = Chunks(ranges) - Common(ranges, *newer);
  if (need <= plan.free_chunks) return {};
  return Fail(ENOSPC, Name(request.tag) + ": the store has " +
                          FormatSize(plan.free_chunks * plan.chunk_size) +
                          " free, keeping the other snapshots may take " +
                          FormatSize(need * plan.chunk_size) +
                          ": delete snapshots, or give the store more space");
}

// See reverting.h: what may show the origin while it is reverted.
Status CheckOrigins(const RevertRequest& request, const std::vector<dm::DdsnapDevice>& origins) {
  for (const dm::DdsnapDevice& device : origins) {
    const std::string path = "/dev/mapper/" + device.name;
    if (request.no_other_origin)
      return Fail(EBUSY, path +
                             ": shows the origin too, and what is written there would be lost; "
                             "remove it first");
    if (device.uuid.starts_with("ZUMASTOR-"))
      return Fail(EBUSY, path + ": is a volume of zumastor's; use zumastor revert");
  }
  return {};
}

// A volume in the midst of a stream: what was received of it does not count from the first write
// on, however far the revert gets.  A part of a full stream may be the same before and after, and
// would not tell.
Status BeginRevert(const RevertRequest& request, const Plan& plan) {
  repl::FileReceiveLog log(repl::FileReceiveLog::DefaultPath("volume-" + plan.uuid));
  auto state = log.Load();
  const bool partial = state && *state && !(*state)->complete;  // nobody goes on from a damaged one
  if (partial)
    if (Status s = log.Save(repl::Disbelieved(**state)); !s) return s;
  auto begun =
      AskServer(request.socket, {{"verb", "revert"}, {"tag", request.tag}, {"step", "begin"}});
  if (begun) return {};
  auto status = AskServer(request.socket, {{"verb", "status"}});
  if (partial && status && !RevertUnderWay(*status))
    if (Status s = log.Save(**state); !s) return s;
  return Pass(begun);
}

bool MayComeBack(int code) {
  return code == ECONNREFUSED || code == ECONNRESET || code == EPIPE || code == ENOENT;
}

}  // namespace

// The work is done: a server that is away for a moment must not lose the news.  When it was the
// answer that got lost, the server may have heard them: it knows of no such revert any more then.
Status EndRevert(const std::string& socket, Tag tag) {
  bool told = false;
  for (int i = 0;; ++i) {
    auto client = ControlClient::Connect(socket);
    auto answer = client ? client->Call({{"verb", "revert"}, {"tag", tag}, {"step", "end"}})
                         : Result<Json>(std::unexpected(client.error()));
    if (answer) return {};
    const int code = answer.error().code;
    if (client && told && code == ENOENT) return {};
    const bool lost = client ? code == ECONNRESET || code == EPIPE : MayComeBack(code);
    if (!lost || i == kEndTries) return Pass(answer);
    if (client) told = true;
    ::usleep(kEndWaitUs);
  }
}

std::optional<Tag> RevertUnderWay(const Json& status) {
  if (!status.contains("reverting")) return std::nullopt;
  auto tag = wire::GetNumber(status, "reverting", 0, kMaxTag);
  if (!tag) return std::nullopt;
  return static_cast<Tag>(*tag);
}

Result<Reverted> RevertOrigin(const RevertRequest& request) {
  auto plan = MakePlan(request);
  if (!plan) return Pass(plan);
  auto devices = VolumeDevices::Find(
      [&](const Json& question) { return AskServer(request.socket, question); }, request.own);
  if (!devices) return Pass(devices);
  if (Status s = CheckOrigins(request, devices->Origins()); !s) return Pass(s);
  auto unused_origin = devices->UnusedOrigin(plan->size / 512);
  if (!unused_origin) return Pass(unused_origin);
  auto unused_snapshot = devices->UnusedSnapshot(request.tag, plan->size / 512);
  if (!unused_snapshot) return Pass(unused_snapshot);
  // From here on nobody mounts either, nor builds on it.  A program that opens one of the devices
  // plainly from now on, and writes, is not kept from that, as with any device.
  auto origin = repl::ContentDevice::OpenToChange(unused_origin->path);
  if (!origin) return Pass(origin);
  auto snapshot = repl::ContentDevice::OpenToReadAlone(unused_snapshot->path);
  if (!snapshot) return Pass(snapshot);
  auto ranges = ChangedSince(request.socket, request.tag);
  if (!ranges) return Pass(ranges);
  if (Status s = CheckSpace(request, *plan, *ranges); !s) return Pass(s);
  if (Status s = BeginRevert(request, *plan); !s) return Pass(s);
  // While nobody held the snapshot's device it could be written to.
  ranges = ChangedSince(request.socket, request.tag);
  if (!ranges) return Pass(ranges);
  repl::RevertOptions options;
  options.chunk_size = plan->chunk_size;
  options.size = plan->size;
  options.progress = request.progress;
  auto sum = repl::Revert(**snapshot, **origin, *ranges, options);
  if (!sum) return Pass(sum);
  if (sum->unreadable != 0)
    return Fail(EIO, Name(request.tag) + ": has lost " + FormatSize(sum->unreadable) +
                         ", from byte " + std::to_string(sum->first_unreadable) +
                         " on; all else is reverted. --cancel accepts that");
  if (Status s = EndRevert(request.socket, request.tag); !s) return Pass(s);
  return Reverted{*sum, plan->origin_size - plan->size};
}

Status CancelRevert(const std::string& socket) {
  auto answer = AskServer(socket, {{"verb", "revert"}, {"step", "cancel"}});
  if (!answer) return Pass(answer);
  return {};
}

}  // namespace ddsnap
