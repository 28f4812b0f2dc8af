// SPDX-License-Identifier: GPL-2.0
#include "control_session.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "server.h"
#include "wire/json.h"

namespace ddsnap::server {
namespace {

using Json = nlohmann::json;

constexpr size_t kOutputLimit = 256 * 1024;  // unsent bytes of a changelist

std::string Rfc3339(int64_t ns) {
  const time_t seconds = ns / 1000000000;
  tm parts{};
  char text[32];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

const char* StateName(Snapshot::State state) {
  switch (state) {
    case Snapshot::State::kOk:
      return "ok";
    case Snapshot::State::kGivenUp:
      return "given-up";
    case Snapshot::State::kDeleting:
      return "deleting";
    case Snapshot::State::kBookmark:
      return "bookmark";
  }
  return "?";
}

std::string Name(Tag tag) { return "snapshot " + std::to_string(tag); }

std::unexpected<Error> NotUsable(const Snapshot& snapshot) {
  return Fail(ESTALE, Name(snapshot.tag) + (snapshot.is_base() ? ": is a bookmark, without contents"
                                                               : ": was given up"));
}

}  // namespace

const ControlSession::Verb ControlSession::kVerbs[] = {
    {"status", &ControlSession::DoStatus, false},
    {"list", &ControlSession::DoList, false},
    {"size", &ControlSession::DoSize, false},
    {"state", &ControlSession::DoState, false},
    {"create", &ControlSession::DoCreate, true},
    {"delete", &ControlSession::DoDelete, true},
    {"bookmark", &ControlSession::DoBookmark, true},
    {"priority", &ControlSession::DoPriority, true},
    {"usecount", &ControlSession::DoUsecount, true},
    {"changelist", &ControlSession::DoChangelist, true},
    {"devices", &ControlSession::DoDevices, false},
    {"revert", &ControlSession::DoRevert, true},
    {"resize", &ControlSession::DoResize, true},
    {"shutdown", &ControlSession::DoShutdown, false},
};

// ---- requests and answers

Status ControlSession::OnFrame(const wire::Frame& frame) {
  if (frame.type != wire::kControlRequest) {
    return Fail(EPROTO, std::string("unexpected ") + wire::TypeName(frame.type));
  }
  // One at a time: a tool that asks faster than it reads has to wait.
  session_.channel().Pause(true);
  busy_ = true;
  auto request = wire::ParseObject(frame.payload);
  if (!request) {
    Answer(std::unexpected(request.error()));
    return {};
  }
  if (server_.abandoned()) server_.RememberAbandoned(std::chrono::milliseconds(100));
  auto answer = Dispatch(*request);
  if (!answer) {
    Answer(std::unexpected(answer.error()));
  } else if (*answer) {
    Answer(std::move(**answer));
  }
  return {};
}

ControlSession::Answered ControlSession::Dispatch(const Json& request) {
  auto name = wire::GetText(request, "verb");
  if (!name) return Pass(name);
  for (const Verb& verb : kVerbs) {
    if (*name != verb.name) continue;
    if (verb.changes && server_.abandoned()) {
      return Fail(server_.abandoned()->code,
                  "store failed, its snapshots are given up: " + server_.abandoned()->text);
    }
    return (this->*verb.handler)(request);
  }
  return Fail(EOPNOTSUPP, *name + ": no such verb");
}

void ControlSession::Answer(const Result<Json>& answer) {
  wire::PutReply(session_.held(), answer ? *answer : wire::ErrorReply(answer.error()));
  held_answer_ = true;
  server_.ScheduleTurn();
}

std::function<void(const Result<Json>&)> ControlSession::Later() {
  // The peer lives as long as its session.
  return [this, weak = session_.weak_from_this()](const Result<Json>& answer) {
    if (const auto session = weak.lock(); session && session->channel().open()) Answer(answer);
  };
}

void ControlSession::OnCommitted() {
  if (!std::exchange(held_answer_, false)) return;
  if (stop_after_) server_.Shutdown();
  RequestDone();
}

void ControlSession::OnCommitFailed(const Error& why) {
  if (!std::exchange(held_answer_, false)) return;
  wire::PutReply(session_.held(), wire::ErrorReply(why));
  RequestDone();
}

// The next one is the successor's if this server ends.
void ControlSession::RequestDone() {
  busy_ = false;
  if (!server_.ending()) session_.channel().Pause(false);
}

Result<const Snapshot*> ControlSession::FindTag(const Json& request, const char* field) {
  auto tag = wire::GetNumber(request, field, 0, kMaxTag);
  if (!tag) return Pass(tag);
  const Snapshot* snapshot = server_.store().Find(static_cast<Tag>(*tag));
  if (snapshot == nullptr) return Fail(ENOENT, Name(static_cast<Tag>(*tag)) + ": does not exist");
  return snapshot;
}

// ---- what there is

Json ControlSession::Describe(const Snapshot& snapshot) const {
  const bool lost = server_.abandoned() && snapshot.is_base();
  return {{"tag", snapshot.tag},
          {"epoch", snapshot.epoch},
          {"created", Rfc3339(snapshot.created_ns)},
          {"state", lost ? "given-up" : StateName(snapshot.state)},
          {"usecount", snapshot.usecount + server_.AttachedCount(snapshot.epoch)},
          {"priority", snapshot.priority},
          {"private_chunks", server_.store().private_chunks(snapshot.epoch)},
          {"size", snapshot.size}};
}

ControlSession::Answered ControlSession::DoStatus(const Json& request) {
  SnapStore& store = server_.store();
  const Snapshot* only = nullptr;
  if (request.contains("tag")) {
    auto found = FindTag(request);
    if (!found) return Pass(found);
    only = *found;
  }
  const StoreSpace space = store.space();
  Json status = {{"volume_uuid", FormatUuid(store.uuid())},
                 {"chunk_size", store.chunk_size()},
                 {"origin_size", store.origin_size()},
                 {"store",
                  {{"total_chunks", space.total_chunks},
                   {"free_chunks", space.free_chunks},
                   {"metadata_bytes", space.metadata_bytes}}},
                 {"link", server_.kernel() != nullptr ? "connected" : "waiting"},
                 {"snapshots", Json::array()}};
  if (server_.abandoned()) status["failed"] = server_.abandoned()->text;
  if (const Snapshot* target = store.FindEpoch(store.reverting()))
    status["reverting"] = target->tag;
  for (const Snapshot& snapshot : store.snapshots()) {
    if (only != nullptr && &snapshot != only) continue;
    Json entry = Describe(snapshot);
    auto used = store.SpaceOf(snapshot.epoch);
    if (!used) return Pass(used);
    entry["chunks"] = used->chunks;
    entry["unshared"] = used->unshared;
    entry["shared"] = used->chunks - used->unshared;
    status["snapshots"].push_back(std::move(entry));
  }
  return status;
}

ControlSession::Answered ControlSession::DoList(const Json&) {
  Json list = {{"volume_uuid", FormatUuid(server_.store().uuid())}, {"snapshots", Json::array()}};
  for (const Snapshot& snapshot : server_.store().snapshots()) {
    list["snapshots"].push_back(Describe(snapshot));
  }
  return list;
}

ControlSession::Answered ControlSession::DoSize(const Json& request) {
  uint64_t size = server_.store().origin_size();
  if (request.contains("tag")) {
    auto snapshot = FindTag(request);
    if (!snapshot) return Pass(snapshot);
    size = (*snapshot)->size;
  }
  return Json{{"sectors", size / 512}};
}

ControlSession::Answered ControlSession::DoState(const Json& request) {
  auto snapshot = FindTag(request);
  if (!snapshot && snapshot.error().code != ENOENT) return Pass(snapshot);
  int state = 1;
  if (snapshot) {
    const bool mark = (*snapshot)->state == Snapshot::State::kBookmark;
    state = server_.abandoned() || !(*snapshot)->is_base() ? 2 : mark ? 3 : 0;
  }
  return Json{{"state", state}};
}

// ---- changes

ControlSession::Answered ControlSession::DoCreate(const Json& request) {
  auto tag = wire::GetNumber(request, "tag", 0, kMaxTag);
  if (!tag) return Pass(tag);
  server_.creations().Create(static_cast<Tag>(*tag),
                             [answer = Later(), tag = *tag](const Result<Epoch>& epoch) {
                               if (!epoch) return answer(std::unexpected(epoch.error()));
                               Log(LOG_INFO, Name(static_cast<Tag>(tag)) + ": created",
                                   {{"ZUMASTOR_TAG", std::to_string(tag)}});
                               answer(Json{{"tag", tag}, {"epoch", *epoch}});
                             });
  return std::nullopt;
}

ControlSession::Answered ControlSession::DoDelete(const Json& request) {
  return WhenLinked(request, &ControlSession::DeleteNow);
}

ControlSession::Answered ControlSession::DoBookmark(const Json& request) {
  return WhenLinked(request, &ControlSession::BookmarkNow);
}

// Which devices there are of a snapshot a kernel without a link cannot tell.
ControlSession::Answered ControlSession::WhenLinked(const Json& request,
                                                    Result<Json> (ControlSession::*now)(Tag)) {
  auto snapshot = FindTag(request);
  if (!snapshot) return Pass(snapshot);
  const Tag tag = (*snapshot)->tag;
  server_.link_waiter().Wait(
      [this, answer = Later(), tag, now, weak = session_.weak_from_this()](const Status& s) {
        const auto alive = weak.lock();
        if (!alive) return;
        if (!s) {
          return answer(Fail(s.error().code, Name(tag) + ": " + s.error().text));
        }
        answer((this->*now)(tag));
      });
  return std::nullopt;
}

Result<const Snapshot*> ControlSession::Unused(Tag tag) const {
  const Snapshot* snapshot = server_.store().Find(tag);
  if (snapshot == nullptr) return Fail(ENOENT, Name(tag) + ": does not exist");
  const uint32_t attached = server_.AttachedCount(snapshot->epoch);
  if (attached != 0 || snapshot->usecount != 0) {
    return Fail(EBUSY, Name(tag) + ": in use (devices: " + std::to_string(attached) +
                           ", use count: " + std::to_string(snapshot->usecount) + ")");
  }
  if (snapshot->epoch == server_.store().reverting()) {
    return Fail(EBUSY, Name(tag) + ": the origin is being reverted to it");
  }
  return snapshot;
}

Result<Json> ControlSession::DeleteNow(Tag tag) {
  auto snapshot = Unused(tag);
  if (!snapshot) return Pass(snapshot);
  // No device has it: nothing reads what its deletion frees.
  if (Status s = server_.store().Delete((*snapshot)->epoch); !s) return Pass(s);
  Log(LOG_INFO, Name(tag) + ": deleted", {{"ZUMASTOR_TAG", std::to_string(tag)}});
  server_.LiveChanged();
  server_.BackgroundWork();
  return Json::object();
}

// To the kernel nothing changes: first writes are reported as before.
Result<Json> ControlSession::BookmarkNow(Tag tag) {
  auto snapshot = Unused(tag);
  if (!snapshot) return Pass(snapshot);
  const Epoch epoch = (*snapshot)->epoch;
  if ((*snapshot)->state == Snapshot::State::kBookmark)
    return Fail(EALREADY, Name(tag) + ": is a bookmark already");
  if ((*snapshot)->state != Snapshot::State::kOk) return NotUsable(**snapshot);
  if (Status s = server_.store().Bookmark(epoch); !s) return Pass(s);
  Log(LOG_INFO, Name(tag) + ": is a bookmark now", {{"ZUMASTOR_TAG", std::to_string(tag)}});
  server_.BackgroundWork();
  return Json{{"tag", tag}, {"epoch", epoch}};
}

ControlSession::Answered ControlSession::DoPriority(const Json& request) {
  auto snapshot = FindTag(request);
  if (!snapshot) return Pass(snapshot);
  auto priority = wire::GetNumber(request, "priority", -128, 127);
  if (!priority) return Pass(priority);
  Status s = server_.store().SetPriority((*snapshot)->epoch, static_cast<int8_t>(*priority));
  if (!s) return Pass(s);
  return Json{{"priority", *priority}};
}

ControlSession::Answered ControlSession::DoUsecount(const Json& request) {
  auto snapshot = FindTag(request);
  if (!snapshot) return Pass(snapshot);
  const Epoch epoch = (*snapshot)->epoch;
  uint32_t count = (*snapshot)->usecount;
  if (request.contains("diff")) {
    auto diff = wire::GetNumber(request, "diff", -65535, 65535);
    if (!diff) return Pass(diff);
    auto sum = server_.store().AddUsecount(epoch, static_cast<int32_t>(*diff));
    if (!sum) return Pass(sum);
    count = *sum;
  }
  return Json{{"usecount", count + server_.AttachedCount(epoch)}};
}

ControlSession::Answered ControlSession::DoDevices(const Json&) {
  const auto text = [](const wire::Device& device) {
    return std::to_string(device.major) + ":" + std::to_string(device.minor);
  };
  const wire::VolumeDevices& devices = server_.volume().devices();
  auto sizes = server_.volume().DeviceSizes();
  if (!sizes) return Pass(sizes);
  return Json{{"store", text(devices.store)},    {"origin", text(devices.origin)},
              {"agent", server_.config().agent}, {"origin_size", sizes->origin},
              {"store_size", sizes->store},      {"meta_size", sizes->meta}};
}

// The tool moves the data; what the store remembers is that it is under way, so
// that a revert that was cut off is seen and finished.
ControlSession::Answered ControlSession::DoRevert(const Json& request) {
  SnapStore& store = server_.store();
  auto step = wire::GetText(request, "step");
  if (!step) return Pass(step);
  const Snapshot* present = store.FindEpoch(store.reverting());
  if (*step == "cancel") {
    if (present == nullptr) return Fail(ENOENT, "no revert is under way");
    const Tag tag = present->tag;
    if (Status s = store.SetReverting(0); !s) return Pass(s);
    Log(LOG_WARNING, Name(tag) + ": the revert to it is given up half-way",
        {{"ZUMASTOR_TAG", std::to_string(tag)}});
    return Json{{"tag", tag}};
  }
  auto found = FindTag(request);
  if (!found) return Pass(found);
  const Snapshot& snapshot = **found;
  Json answer = {{"tag", snapshot.tag}, {"epoch", snapshot.epoch}, {"size", snapshot.size}};
  Status s;
  if (*step == "begin") {
    if (snapshot.state != Snapshot::State::kOk) return NotUsable(snapshot);
    s = store.SetReverting(snapshot.epoch);
  } else if (*step == "end") {
    if (present != &snapshot) {
      return Fail(ENOENT, Name(snapshot.tag) + ": no revert to it is under way any more");
    }
    if (snapshot.state != Snapshot::State::kOk) {
      return Fail(ESTALE, Name(snapshot.tag) + ": was given up meanwhile");
    }
    s = store.SetReverting(0);
  } else {
    return Fail(EINVAL, *step + ": no such step");
  }
  if (!s) return Pass(s);
  Log(LOG_NOTICE, Name(snapshot.tag) + ": revert of the origin, " + *step,
      {{"ZUMASTOR_TAG", std::to_string(snapshot.tag)}});
  return answer;
}

ControlSession::Answered ControlSession::DoShutdown(const Json&) {
  stop_after_ = true;
  return Json::object();
}

// ---- changelists

ControlSession::Answered ControlSession::DoChangelist(const Json& request) {
  SnapStore& store = server_.store();
  Json answer = {{"volume_uuid", FormatUuid(store.uuid())}, {"chunk_size", store.chunk_size()}};
  Epoch epochs[2] = {};
  for (const auto& [field, epoch] : {std::pair{"from", &epochs[0]}, {"to", &epochs[1]}}) {
    auto tag = wire::GetNumber(request, field, field[0] == 't' ? -1 : 0, kMaxTag);
    if (!tag) return Pass(tag);
    if (*tag == -1) {
      answer[field] = {{"tag", -1}, {"epoch", 0}, {"size", store.origin_size()}};
      continue;
    }
    auto snapshot = FindTag(request, field);
    if (!snapshot) return Pass(snapshot);
    if (!(*snapshot)->is_base()) return NotUsable(**snapshot);
    *epoch = (*snapshot)->epoch;
    answer[field] = {{"tag", *tag}, {"epoch", *epoch}, {"size", (*snapshot)->size}};
  }
  Status s = store.Changelist(epochs[0], epochs[1], [this](const ChunkRange& range) {
    changes_.push_back(range);
    return true;
  });
  if (!s) {
    changes_.clear();
    return Pass(s);
  }
  changes_answer_ = std::move(answer);
  changes_sent_ = 0;
  SendChanges();
  return std::nullopt;
}

// As much as the tool's socket may hold up; the rest when it has been taken.
void ControlSession::SendChanges() {
  constexpr size_t kBatch = wire::kMaxPayload / sizeof(ddsnap_range);
  while (changes_sent_ < changes_.size()) {
    if (session_.channel().pending() > kOutputLimit) return;
    std::vector<wire::Changed> batch;
    const size_t end = std::min(changes_.size(), changes_sent_ + kBatch);
    for (; changes_sent_ < end; ++changes_sent_) {
      batch.push_back({changes_[changes_sent_].chunk, changes_[changes_sent_].count});
    }
    wire::FrameWriter frames;
    wire::PutAll<wire::Changed>(frames, batch);
    session_.channel().Send(frames);
  }
  changes_ = {};
  Answer(std::exchange(changes_answer_, Json()));
}

void ControlSession::OnDrained() {
  if (!changes_answer_.is_null()) SendChanges();
}

}  // namespace ddsnap::server
