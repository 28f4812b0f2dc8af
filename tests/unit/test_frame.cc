// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "base/fd.h"
#include "unit.h"
#include "wire/frame.h"

using namespace ddsnap;
using namespace ddsnap::wire;

namespace {

std::vector<std::byte> Bytes(const FrameWriter& out) {
  return {out.bytes().begin(), out.bytes().end()};
}

FrameWriter OneReport(uint64_t sequence) {
  FrameWriter out;
  const Report report{.snapshot = 0, .chunk = 7, .address = 9, .count = 2, .unreadable = true};
  PutAll<Report>(out, std::span(&report, 1), sequence);
  return out;
}

// Patches a field of the frame's head and returns what Next makes of it.
int ErrorAfterPatch(size_t offset, uint32_t value) {
  auto bytes = Bytes(OneReport(1));
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  FrameReader in;
  in.Append(bytes);
  auto frame = in.Next();
  return frame ? 0 : frame.error().code;
}

}  // namespace

START_TEST(a_message_survives_the_wire) {
  FrameReader in;
  in.Append(Bytes(OneReport(5)));
  auto frame = in.Next();
  CK_OK(frame);
  ck_assert(frame->has_value());
  ck_assert_uint_eq((*frame)->type, Report::kType);
  ck_assert_uint_eq((*frame)->sequence, 5);
  const auto reports = GetAll<Report>(**frame);
  ck_assert_uint_eq(reports.size(), 1);
  ck_assert_uint_eq(reports[0].chunk, 7);
  ck_assert_uint_eq(reports[0].address, 9);
  ck_assert_uint_eq(reports[0].count, 2);
  ck_assert(reports[0].unreadable);
  ck_assert(!(*in.Next()).has_value());
}
END_TEST

START_TEST(a_frame_in_single_bytes_comes_out_whole) {
  const auto bytes = Bytes(OneReport(1));
  FrameReader in;
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto frame = in.Next();
    CK_OK(frame);
    ck_assert(!frame->has_value());
    in.Append(std::span(bytes).subspan(i, 1));
  }
  auto frame = in.Next();
  CK_OK(frame);
  ck_assert(frame->has_value());
}
END_TEST

START_TEST(wrong_heads_are_refused) {
  ck_assert_int_eq(ErrorAfterPatch(0, 0x12345678), EPROTO);        // magic
  ck_assert_int_eq(ErrorAfterPatch(4, 9999), EPROTO);              // type
  ck_assert_int_eq(ErrorAfterPatch(4, Hello::kType), EPROTO);      // length not of this type
  ck_assert_int_eq(ErrorAfterPatch(8, 0), EPROTO);                 // no record
  ck_assert_int_eq(ErrorAfterPatch(8, 33), EPROTO);                // no multiple
  ck_assert_int_eq(ErrorAfterPatch(8, kMaxPayload + 32), EPROTO);  // too long
  ck_assert_int_eq(ErrorAfterPatch(8, 0xffffffe0), EPROTO);        // far too long
  ck_assert_int_eq(ErrorAfterPatch(12, 77), 0);                    // reserved: ignored
}
END_TEST

START_TEST(records_spread_over_frames_keep_their_numbers) {
  std::vector<Report> reports(5000);
  for (size_t i = 0; i < reports.size(); ++i) reports[i] = {.chunk = i, .address = i, .count = 1};
  FrameWriter out;
  PutAll<Report>(out, reports, 1);
  FrameReader in;
  in.Append(Bytes(out));
  uint64_t next = 1;
  for (;;) {
    auto frame = in.Next();
    CK_OK(frame);
    if (!*frame) break;
    ck_assert_uint_eq((*frame)->sequence, next);
    for (const Report& r : GetAll<Report>(**frame)) ck_assert_uint_eq(r.chunk, next++ - 1);
  }
  ck_assert_uint_eq(next, reports.size() + 1);
}
END_TEST

START_TEST(a_full_socket_takes_the_rest_later) {
  int ends[2];
  ck_assert_int_eq(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  const Fd a(ends[0]), b(ends[1]);
  FrameWriter out;
  std::vector<Report> reports(50000, Report{.count = 1});
  PutAll<Report>(out, reports, 1);
  FrameReader in;
  size_t records = 0;
  for (bool sent = false;;) {
    auto all = out.WriteTo(a.get());
    CK_OK(all);
    sent = *all;
    for (;;) {
      auto input = in.ReadFrom(b.get());
      CK_OK(input);
      if (*input != FrameReader::Input::kData) break;
      for (;;) {
        auto frame = in.Next();
        CK_OK(frame);
        if (!*frame) break;
        records += GetAll<Report>(**frame).size();
      }
    }
    if (sent) break;
  }
  ck_assert_uint_eq(records, reports.size());
}
END_TEST

START_TEST(an_end_inside_a_frame_is_an_error) {
  int ends[2];
  ck_assert_int_eq(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  Fd a(ends[0]);
  const Fd b(ends[1]);
  const auto bytes = Bytes(OneReport(1));
  ck_assert_int_eq(::send(a.get(), bytes.data(), bytes.size() - 1, 0),
                   static_cast<ssize_t>(bytes.size() - 1));
  a.Reset();
  FrameReader in;
  auto input = in.ReadFrom(b.get());
  CK_OK(input);
  input = in.ReadFrom(b.get());
  ck_assert(!input);
  ck_assert_int_eq(input.error().code, EPROTO);
}
END_TEST

START_TEST(text_from_a_peer_is_one_clean_line) {
  Refused refused{.error = EIO, .reason = std::string(400, 'x')};
  ck_assert_uint_eq(Refused::From(refused.To()).reason.size(), DDSNAP_REASON_MAX - 1);
  refused.reason = "a\nb\x1b[1m";
  ck_assert(Refused::From(refused.To()).reason == "a?b?[1m");
  ddsnap_refused raw;
  std::memset(&raw, 'y', sizeof raw);  // no NUL at all
  ck_assert_uint_eq(Refused::From(raw).reason.size(), DDSNAP_REASON_MAX);
}
END_TEST

START_TEST(every_message_returns_as_it_went) {
  const Uuid uuid{1, 2, 3, 16};
  const auto identify =
      Identify::From(Identify{.devices = {{1, 2}, {3, 4}}, .sectors = 5, .tag = kTagOrigin}.To());
  ck_assert_uint_eq(identify.devices.origin.minor, 4);
  ck_assert_uint_eq(identify.tag, kTagOrigin);
  const auto hello =
      Hello::From(Hello{.uuid = uuid, .origin_sectors = 1ull << 50, .store_sectors = 7}.To());
  ck_assert(hello.uuid == uuid);
  ck_assert_uint_eq(hello.origin_sectors, 1ull << 50);
  const auto welcome = Welcome::From(Welcome{.chunk_shift = 5, .epoch = 9, .live = 3}.To());
  ck_assert_uint_eq(welcome.epoch, 9);
  ck_assert_uint_eq(welcome.live, 3);
  ck_assert_uint_eq(Attach::From(Attach{~0ull}.To()).value, ~0ull);
  const auto resume = Resume::From(Resume{.id = 1, .epoch = 2, .live = 3}.To());
  ck_assert_uint_eq(resume.live, 3);
  const auto need = NeedServer::From(NeedServer{.dm_dev = {253, 9}, .uuid = uuid}.To());
  ck_assert_uint_eq(need.dm_dev.minor, 9);
  ck_assert(need.uuid == uuid);
  const auto reg = Register::From(Register{.uuid = uuid, .socket = "/run/x"}.To());
  ck_assert(reg.socket == "/run/x");
}
END_TEST

UNIT_MAIN("frame", a_message_survives_the_wire, a_frame_in_single_bytes_comes_out_whole,
          wrong_heads_are_refused, records_spread_over_frames_keep_their_numbers,
          a_full_socket_takes_the_rest_later, an_end_inside_a_frame_is_an_error,
          text_from_a_peer_is_one_clean_line, every_message_returns_as_it_went)
