// SPDX-License-Identifier: GPL-2.0
#include "lib/fake_peer.h"

#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

#include "io/unix_socket.h"
#include "wire/json.h"

namespace ddsnap::test {
namespace {

constexpr uint64_t kPatienceMs = 20000;

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "fake peer: %s\n", why.c_str());
  std::abort();
}

}  // namespace

bool RunUntil(EventLoop& loop, const std::function<bool()>& done) {
  const uint64_t deadline = EventLoop::NowMs() + kPatienceMs;
  while (!done()) {
    const uint64_t now = EventLoop::NowMs();
    if (now >= deadline) return false;
    (void)loop.RunOnce(std::min<uint64_t>(deadline - now, 50));
  }
  return true;
}

FakePeer::FakePeer(EventLoop& loop, Fd fd) : loop_(loop) { Start(std::move(fd)); }

FakePeer::FakePeer(EventLoop& loop, const std::string& socket) : loop_(loop) {
  Fd fd;
  const bool connected = RunUntil(loop, [&] {
    auto result = ConnectUnix(socket, /*nonblocking=*/true);
    if (result) fd = std::move(*result);
    return result.has_value();
  });
  if (!connected) Die("cannot connect to " + socket);
  Start(std::move(fd));
}

void FakePeer::Start(Fd fd) {
  raw_fd_ = fd.get();
  channel_ = std::make_unique<wire::Channel>(
      loop_, std::move(fd),
      wire::Channel::Handlers{.frame = [this](const wire::Frame& frame) -> Status {
                                frames_.push_back({frame.type,
                                                   frame.sequence,
                                                   {frame.payload.begin(), frame.payload.end()}});
                                return {};
                              },
                              .closed = [this](const std::string&) { closed_ = true; },
                              .drained = {}});
}

void FakePeer::SendRaw(std::span<const std::byte> bytes) {
  if (::send(raw_fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(bytes.size())) {
    Die("raw bytes were not taken");
  }
}

OwnedFrame FakePeer::Next() {
  if (!RunUntil(loop_, [this] { return !frames_.empty() || closed_; })) Die("no answer");
  if (frames_.empty()) return {};
  OwnedFrame frame = std::move(frames_.front());
  frames_.pop_front();
  return frame;
}

OwnedFrame FakePeer::ExpectType(uint32_t type) {
  OwnedFrame frame = Next();
  if (frame.type != type) {
    std::string what = frame.type == 0 ? "end of the connection" : wire::TypeName(frame.type);
    if (frame.type == wire::Refused::kType || frame.type == wire::Abandon::kType) {
      what += " (" + wire::Get<wire::Refused>(frame.view()).reason + ")";
    }
    Die(std::string("expected ") + wire::TypeName(type) + ", got " + what);
  }
  return frame;
}

void FakePeer::ExpectClosed() {
  const OwnedFrame frame = Next();
  if (frame.type != 0) Die(std::string("expected the end, got ") + wire::TypeName(frame.type));
}

void FakePeer::Request(const nlohmann::json& request) {
  const std::string text = request.dump();
  wire::FrameWriter out;
  out.Put(wire::kControlRequest, 0, std::as_bytes(std::span(text)));
  Send(out);
}

nlohmann::json FakePeer::Reply() {
  std::string text;
  for (;;) {
    const OwnedFrame frame = Next();
    if (frame.type == wire::kControlRanges) continue;
    if (frame.type != wire::kControlPart && frame.type != wire::kControlReply) {
      Die(std::string("expected a reply, got ") + wire::TypeName(frame.type));
    }
    text.append(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size());
    if (frame.type == wire::kControlReply) break;
  }
  auto reply = wire::ParseObject(std::as_bytes(std::span(text)));
  if (!reply) Die("reply is not JSON: " + text);
  return *reply;
}

nlohmann::json FakePeer::Ask(const nlohmann::json& request) {
  Request(request);
  return Reply();
}

}  // namespace ddsnap::test
