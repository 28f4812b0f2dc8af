// SPDX-License-Identifier: GPL-2.0
// A user's tool: one JSON request at a time (doc/protocol.md).
#ifndef DDSNAP_SERVER_CONTROL_SESSION_H_
#define DDSNAP_SERVER_CONTROL_SESSION_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "session.h"
#include "store/snapstore.h"

namespace ddsnap::server {

class ControlSession : public Peer {
 public:
  using Json = nlohmann::json;
  // A verb answers now, or returns nullopt and calls Answer later.
  using Answered = Result<std::optional<Json>>;

  ControlSession(Server& server, Session& session) : server_(server), session_(session) {}

  [[nodiscard]] Status OnFrame(const wire::Frame& frame) override;
  void OnCommitted() override;
  void OnCommitFailed(const Error& why) override;
  void OnDrained() override;
  [[nodiscard]] bool busy() const override { return busy_; }

 private:
  struct Verb {
    const char* name;
    Answered (ControlSession::*handler)(const Json&);
    bool changes;  // refused when the store has been abandoned
  };
  static const Verb kVerbs[];

  [[nodiscard]] Answered Dispatch(const Json& request);
  void Answer(const Result<Json>& answer);
  // For work that ends later: does nothing if this session is gone by then.
  [[nodiscard]] std::function<void(const Result<Json>&)> Later();
  [[nodiscard]] Result<const Snapshot*> FindTag(const Json& request, const char* field = "tag");
  [[nodiscard]] Json Describe(const Snapshot& snapshot) const;

  [[nodiscard]] Answered DoStatus(const Json& request);
  [[nodiscard]] Answered DoList(const Json& request);
  [[nodiscard]] Answered DoSize(const Json& request);
  [[nodiscard]] Answered DoState(const Json& request);
  [[nodiscard]] Answered DoCreate(const Json& request);
  [[nodiscard]] Answered DoDelete(const Json& request);
  [[nodiscard]] Answered DoBookmark(const Json& request);
  [[nodiscard]] Answered DoPriority(const Json& request);
  [[nodiscard]] Answered DoUsecount(const Json& request);
  [[nodiscard]] Answered DoChangelist(const Json& request);
  [[nodiscard]] Answered DoDevices(const Json& request);
  [[nodiscard]] Answered DoRevert(const Json& request);
  [[nodiscard]] Answered DoShutdown(const Json& request);
  // control_resize.cc
  struct Sizes {  // in bytes; nullopt: as it is
    std::optional<uint64_t> origin, store, meta;
  };
  [[nodiscard]] Answered DoResize(const Json& request);
  [[nodiscard]] Result<Sizes> Resolve(const Sizes& wanted);
  [[nodiscard]] Result<Json> ResizeNow(const Sizes& wanted);
  // Does `now` with the request's tag when the link has settled.
  [[nodiscard]] Answered WhenLinked(const Json& request, Result<Json> (ControlSession::*now)(Tag));
  // EBUSY if a device or a use count has it, or a revert needs it.
  [[nodiscard]] Result<const Snapshot*> Unused(Tag tag) const;
  [[nodiscard]] Result<Json> DeleteNow(Tag tag);
  [[nodiscard]] Result<Json> BookmarkNow(Tag tag);
  void SendChanges();
  void RequestDone();

  Server& server_;
  Session& session_;
  bool busy_ = false;         // with a request whose answer has not gone out
  bool held_answer_ = false;  // waits for this turn's commit
  bool stop_after_ = false;   // shutdown was answered
  // A changelist on its way out, and the answer that ends it.
  std::vector<ChunkRange> changes_;
  size_t changes_sent_ = 0;
  Json changes_answer_;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_CONTROL_SESSION_H_
