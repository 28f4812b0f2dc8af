// SPDX-License-Identifier: GPL-2.0
#include "wire/control.h"

#include <cerrno>

#include "io/unix_socket.h"
#include "wire/frame.h"
#include "wire/json.h"

namespace ddsnap {
namespace {

// A reply longer than this is no reply: 4 million snapshots would fit.
constexpr size_t kMaxReply = 1 << 30;

Status SendAll(int fd, wire::FrameWriter& out) {
  // The socket blocks, but sends with MSG_DONTWAIT: requests are one frame and
  // fit the socket's buffer, unless the server stopped reading.
  auto all = out.WriteTo(fd);
  if (!all) return Pass(all);
  if (!*all) return Fail(EAGAIN, "server does not read requests");
  return {};
}

class ReplyReader {
 public:
  using Sink = std::function<Status(const ChunkRange&)>;
  ReplyReader(int fd, const Sink& sink) : fd_(fd), sink_(sink) {}

  Result<nlohmann::json> Run() {
    for (;;) {
      auto frame = in_.Next();
      if (!frame) return Pass(frame);
      if (*frame) {
        if (Status s = Take(**frame); !s) return Pass(s);
        if ((*frame)->type == wire::kControlReply) break;
        continue;
      }
      auto input = in_.ReadFrom(fd_);
      if (!input) return Pass(input);
      if (*input == wire::FrameReader::Input::kClosed) {
        return Fail(ECONNRESET, "server closed the connection without an answer");
      }
    }
    auto reply = wire::ParseObject(std::as_bytes(std::span(text_)));
    if (!reply) return Pass(reply);
    if (reply->contains("error")) {
      auto code = wire::GetNumber(*reply, "error", 1, 4095);
      auto why = wire::GetText(*reply, "text");
      if (!code || !why) return Fail(EPROTO, "server sent a malformed error");
      return Fail(static_cast<int>(*code), *why);
    }
    return reply;
  }

 private:
  Status Take(const wire::Frame& frame) {
    if (frame.type == wire::kControlRanges) {
      for (const auto& range : wire::GetAll<wire::Changed>(frame)) {
        if (!sink_) return Fail(EPROTO, "server sent ranges that were not asked for");
        if (Status s = sink_({range.address, range.count}); !s) return s;
      }
      return {};
    }
    if (frame.type != wire::kControlPart && frame.type != wire::kControlReply) {
      return Fail(EPROTO, std::string("server sent an unexpected ") + wire::TypeName(frame.type));
    }
    if (text_.size() + frame.payload.size() > kMaxReply) return Fail(EPROTO, "answer too long");
    text_.append(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size());
    return {};
  }

  int fd_;
  const Sink& sink_;
  wire::FrameReader in_;
  std::string text_;
};

}  // namespace

Result<ControlClient> ControlClient::Connect(const std::string& path) {
  auto fd = ConnectUnix(path, /*nonblocking=*/false);
  if (!fd) return Pass(fd);
  return ControlClient(std::move(*fd));
}

Result<nlohmann::json> ControlClient::Call(const nlohmann::json& request) {
  return Call(request, {});
}

Result<nlohmann::json> ControlClient::Call(const nlohmann::json& request,
                                           const std::function<Status(const ChunkRange&)>& sink) {
  const std::string text = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > wire::kMaxPayload) return Fail(E2BIG, "request is too long");
  wire::FrameWriter out;
  out.Put(wire::kControlRequest, 0, std::as_bytes(std::span(text)));
  if (Status s = SendAll(fd_.get(), out); !s) return Pass(s);
  return ReplyReader(fd_.get(), sink).Run();
}

}  // namespace ddsnap
