// SPDX-License-Identifier: GPL-2.0
#include "repl/reply_stream.h"

#include <algorithm>
#include <array>

namespace ddsnap::repl {
namespace {

constexpr size_t kMaxText = 4096;

}  // namespace

ReplyWriter::ReplyWriter(ByteSink& sink) : records_(sink, kReplyMagic) {}

Status ReplyWriter::PutStatus(const std::optional<ReceiveState>& state) {
  RawReplyStatus raw{};
  if (state) {
    raw = {PackHead(state->what), state->complete ? kHoldsTarget : kInBetween, state->position,
           state->limit};
  }
  return records_.PutStruct(kStatusRecord, raw);
}

Status ReplyWriter::PutAck(uint64_t position) {
  return records_.PutStruct(kAckRecord, RawPosition{position});
}

Status ReplyWriter::PutDone(uint64_t position) {
  return records_.PutStruct(kDoneRecord, RawPosition{position});
}

Status ReplyWriter::PutFail(const Error& error) {
  std::vector<std::byte> body(sizeof(Le32) + std::min(error.text.size(), kMaxText));
  const Le32 code = static_cast<uint32_t>(error.code);
  std::memcpy(body.data(), &code, sizeof code);
  std::memcpy(body.data() + sizeof code, error.text.data(), body.size() - sizeof code);
  return records_.Put(kFailRecord, body);
}

Status ReplyWriter::PutSums(const SumRange& range, std::span<const Sum> sums) {
  const RawSumRange raw{range.offset, range.length, range.unit};
  std::vector<std::byte> body(sizeof raw + sums.size_bytes());
  std::memcpy(body.data(), &raw, sizeof raw);
  // A range past the volume's end has none, and then there is nothing to copy from.
  if (!sums.empty()) std::memcpy(body.data() + sizeof raw, sums.data(), sums.size_bytes());
  return records_.Put(kSumsRecord, body);
}

Status ReplyWriter::PutSnapshot(Tag tag, bool origin_is_it) {
  return records_.PutStruct(kSnapshotRecord,
                            RawSnapshot{tag, origin_is_it ? kOriginIsSnapshot : 0u});
}

ReplyReader::ReplyReader(ByteSource& source)
    : records_(source, kReplyMagic, "reply of a receiver") {}

Result<Reply> ReplyReader::Next() {
  static constexpr std::array kFirst = {kStatusRecord, kFailRecord};
  static constexpr std::array kRest = {kAckRecord, kDoneRecord, kFailRecord, kSumsRecord,
                                       kSnapshotRecord};
  const std::span<const uint32_t> known = begun_ ? std::span<const uint32_t>(kRest) : kFirst;
  if (Status s = records_.Next(known, &record_); !s) return Pass(s);
  begun_ = true;
  if (!record_.payload.empty()) return records_.Damaged(record_.offset, "unexpected payload");
  if (record_.type == kStatusRecord) return TakeStatus();
  if (record_.type == kFailRecord) return TakeFail();
  if (record_.type == kSumsRecord) return TakeSums();
  if (record_.type == kSnapshotRecord) return TakeSnapshot();
  Reply reply;
  RawPosition raw;
  if (!GetStruct(record_.body, &raw)) return records_.Damaged(record_.offset, "impossible size");
  reply.kind = record_.type == kDoneRecord ? Reply::Kind::kDone : Reply::Kind::kAck;
  reply.position = raw.position;
  return reply;
}

Result<Reply> ReplyReader::TakeFail() {
  Le32 code;
  if (!GetStruct(record_.body, &code)) return records_.Damaged(record_.offset, "impossible size");
  Reply reply;
  reply.kind = Reply::Kind::kFail;
  failed_ = true;
  const auto* text = reinterpret_cast<const char*>(record_.body.data());
  reply.error = {static_cast<int>(uint32_t{code}),
                 {text + sizeof code, std::min(record_.body.size() - sizeof code, kMaxText)}};
  // It goes to a terminal, and into files of JSON: one line of plain letters.
  for (char& c : reply.error.text) {
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return reply;
}

// Whether the range is the one that was asked for is the asker's to see.
Result<Reply> ReplyReader::TakeSums() const {
  RawSumRange raw;
  if (!GetStruct(record_.body, &raw)) return records_.Damaged(record_.offset, "impossible size");
  Reply reply;
  reply.kind = Reply::Kind::kSums;
  reply.range = {.offset = raw.offset, .length = raw.length, .unit = raw.unit};
  if (reply.range.unit == 0 || reply.range.count() > kMaxSums ||
      record_.body.size() - sizeof raw != reply.range.count() * sizeof(Sum))
    return records_.Damaged(record_.offset, "impossible number of sums");
  reply.sums.resize(reply.range.count());
  if (!reply.sums.empty())
    std::memcpy(reply.sums.data(), record_.body.data() + sizeof raw,
                reply.sums.size() * sizeof(Sum));
  return reply;
}

Result<Reply> ReplyReader::TakeSnapshot() const {
  RawSnapshot raw;
  if (!GetStruct(record_.body, &raw)) return records_.Damaged(record_.offset, "impossible size");
  Reply reply;
  reply.kind = Reply::Kind::kSnapshot;
  reply.tag = raw.tag;
  reply.origin_is_it = (raw.flags & kOriginIsSnapshot) != 0;
  return reply;
}

Result<Reply> ReplyReader::TakeStatus() {
  RawReplyStatus raw;
  if (!GetStruct(record_.body, &raw)) return records_.Damaged(record_.offset, "impossible size");
  Reply reply;
  reply.kind = Reply::Kind::kStatus;
  if (raw.status == kNothing) return reply;
  auto what = UnpackHead(raw.what, record_, records_);
  if (!what) return Pass(what);
  if (raw.status > kHoldsTarget) return records_.Damaged(record_.offset, "impossible status");
  reply.state.emplace();
  reply.state->what = *what;
  reply.state->complete = raw.status == kHoldsTarget;
  reply.state->position = raw.position;
  reply.state->limit = raw.limit;
  return reply;
}

}  // namespace ddsnap::repl
