// SPDX-License-Identifier: GPL-2.0
#include "repl/receive_state.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/uuid.h"
#include "repl/byte_stream.h"

namespace ddsnap::repl {
namespace {

using nlohmann::json;

constexpr size_t kMaxState = 1 << 16;  // bytes
constexpr size_t kMaxRedo = 256 << 20;
constexpr char kTokenName[] = "ddresume1";

std::string Hex(const Sum& sum) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t b : sum) {
    text += kDigits[b >> 4];
    text += kDigits[b & 15];
  }
  return text;
}

Sum SumOfText(const std::string& text) { return Checksum(std::as_bytes(std::span(text))); }

json PackId(const SnapshotId& id) {
  if (id.none) return nullptr;
  return {{"epoch", id.epoch}, {"tag", id.tag}, {"size", id.size}, {"created_ns", id.created_ns}};
}

SnapshotId UnpackId(const json& from) {
  if (from.is_null()) return {.none = true};
  return {.epoch = from.at("epoch").get<Epoch>(),
          .tag = from.at("tag").get<Tag>(),
          .size = from.at("size").get<uint64_t>(),
          .created_ns = from.at("created_ns").get<int64_t>()};
}

Result<Sum> UnpackSum(const std::string& text) {
  Sum sum;
  for (size_t i = 0; i < sum.size(); ++i) {
    if (text.size() != 2 * sum.size()) return Fail(EBADMSG, "sum of other length");
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, sum[i], 16).ptr != at + 2) return Fail(EBADMSG, "no sum");
  }
  return sum;
}

std::optional<LocalSnapshot> UnpackLocal(const json& from, const char* tag, const char* epoch) {
  if (!from.contains(tag)) return std::nullopt;
  return LocalSnapshot(from.at(tag).get<Tag>(), from.value(epoch, Epoch{0}));
}

json PackWritten(const ReceiveState::Written& written) {
  return {{"offset", written.offset}, {"length", written.length}, {"sum", Hex(written.sum)}};
}

// Throws what nlohmann::json throws.
Result<ReceiveState> Unpack(json from) {
  const std::string sum = from.at("sum").get<std::string>();
  from.erase("sum");
  if (Hex(SumOfText(from.dump())) != sum) return Fail(EBADMSG, "checksum does not match");
  if (from.at("version").get<int>() != 1) return Fail(ENOTSUP, "of another version");
  ReceiveState state;
  state.complete = from.at("status").get<std::string>() == "complete";
  state.device = from.at("device").get<std::string>();
  state.size = from.at("size").get<uint64_t>();
  auto volume = ParseUuid(from.at("volume").get<std::string>());
  if (!volume) return Pass(volume);
  state.what.volume = *volume;
  state.what.chunk_size = from.at("chunk_size").get<uint32_t>();
  state.what.base = UnpackId(from.at("base"));
  state.what.target = UnpackId(from.at("target"));
  state.what.made_ns = from.at("made_ns").get<int64_t>();
  state.position = from.at("position").get<uint64_t>();
  state.limit = from.at("limit").get<uint64_t>();
  for (const auto& [name, written] : {std::pair("first", &state.first), {"last", &state.last}}) {
    const auto it = from.find(name);
    if (it == from.end()) continue;
    auto of_it = UnpackSum(it->at("sum").get<std::string>());
    if (!of_it) return Pass(of_it);
    *written = {it->at("offset").get<uint64_t>(), it->at("length").get<uint32_t>(), *of_it};
    if ((*written)->length > kMaxExtent) return Fail(EBADMSG, "impossible extent");
  }
  state.before = UnpackLocal(from, "before", "before_epoch");
  state.after = UnpackLocal(from, "after", "after_epoch");
  state.vouched = from.value("vouched", false);
  state.written = from.value("written", false);
  return state;
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string FormatState(const ReceiveState& state) {
  json out = {{"version", 1},
              {"status", state.complete ? "complete" : "partial"},
              {"device", state.device},
              {"size", state.size},
              {"volume", FormatUuid(state.what.volume)},
              {"chunk_size", state.what.chunk_size},
              {"base", PackId(state.what.base)},
              {"target", PackId(state.what.target)},
              {"made_ns", state.what.made_ns},
              {"position", state.position},
              {"limit", state.limit}};
  if (state.first) out["first"] = PackWritten(*state.first);
  if (state.last) out["last"] = PackWritten(*state.last);
  for (const auto& [tag, epoch, local] : {std::tuple("before", "before_epoch", &state.before),
                                          {"after", "after_epoch", &state.after}}) {
    if (!*local) continue;
    out[tag] = (*local)->tag;
    out[epoch] = (*local)->epoch;
  }
  if (state.vouched) out["vouched"] = true;
  if (state.written) out["written"] = true;
  // A device's name may be no UTF-8: what is summed is what will be read back.
  const std::string clean = out.dump(-1, ' ', false, json::error_handler_t::replace);
  out = json::parse(clean);
  out["sum"] = Hex(SumOfText(out.dump()));
  return out.dump(2) + "\n";
}

Result<ReceiveState> ParseState(const std::string& text) {
  const json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return Fail(EBADMSG, "not a receive state");
  try {
    return Unpack(parsed);
  } catch (const json::exception&) {
    return Fail(EBADMSG, "not a receive state");
  }
}

bool SameJourney(const StreamHead& a, const StreamHead& b) {
  // Epoch 0 is the origin at some time: only one stream is of that time.
  const bool same_time = a.target.epoch != 0 || a.made_ns == b.made_ns;
  return a.volume == b.volume && a.chunk_size == b.chunk_size && a.base.none == b.base.none &&
         a.base.epoch == b.base.epoch && a.base.size == b.base.size &&
         a.target.epoch == b.target.epoch && a.target.size == b.target.size && same_time;
}

ReceiveState Disbelieved(ReceiveState state) {
  // What nothing is the sum of.  The limit stays: below it the device may be anything.
  constexpr ReceiveState::Written kNoContent = {.offset = 0, .length = 512, .sum = {}};
  state.position = 0;
  state.last = kNoContent;
  return state;
}

ResumeToken TokenOf(const ReceiveState& state) {
  ResumeToken token{.volume = state.what.volume,
                    .base = std::nullopt,
                    .target = state.what.target.epoch,
                    .position = state.position,
                    .limit = state.limit};
  if (!state.what.base.none) token.base = state.what.base.epoch;
  return token;
}

std::string FormatToken(const ResumeToken& token) {
  return std::string(kTokenName) + ":" + FormatUuid(token.volume) + ":" +
         (token.base ? std::to_string(*token.base) : "-") + ":" + std::to_string(token.target) +
         ":" + std::to_string(token.position) + ":" + std::to_string(token.limit);
}

Result<ResumeToken> ParseToken(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ':') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  const auto bad = [&] { return Fail(EINVAL, text + ": not a resume token"); };
  if (words.size() != 6 || words[0] != kTokenName) return bad();
  auto volume = ParseUuid(words[1]);
  if (!volume) return bad();
  ResumeToken token;
  token.volume = *volume;
  if (words[2] != "-") {
    token.base = 0;
    if (!ParseNumber(words[2], &*token.base)) return bad();
  }
  if (!ParseNumber(words[3], &token.target) || !ParseNumber(words[4], &token.position) ||
      !ParseNumber(words[5], &token.limit)) {
    return bad();
  }
  return token;
}

std::string FileReceiveLog::DefaultPath(const std::string& key) {
  const char* root = std::getenv("ZUMASTOR_STATEDIR");
  const std::string top = root != nullptr ? root : "/var/lib/zumastor";
  std::string name;
  for (const char c : key) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '@' || c == ':';
    if (plain) {
      name += c;
    } else if (c == '/') {
      name += '_';
    } else {
      char escaped[4];
      std::snprintf(escaped, sizeof escaped, "%%%02x", static_cast<unsigned>(c) & 0xff);
      name += escaped;
    }
  }
  return top + "/receive/" + name + ".json";
}

Result<std::vector<std::byte>> FileReceiveLog::ReadWhole(const std::string& path) const {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return std::vector<std::byte>();
    return FailErrno(errno, path);
  }
  if (static_cast<uint64_t>(st.st_size) > kMaxRedo) return Fail(EBADMSG, path + ": too large");
  auto source = FileSource::Open(path);
  if (!source) return Pass(source);
  std::vector<std::byte> bytes(static_cast<size_t>(st.st_size));
  auto n = (*source)->Read(bytes);
  if (!n) return Pass(n);
  bytes.resize(*n);
  return bytes;
}

Status FileReceiveLog::Replace(const std::string& path, std::span<const std::byte> bytes) const {
  const size_t slash = path.rfind('/');
  for (size_t at = 1; slash != std::string::npos && at <= slash; ++at) {
    if (path[at] != '/') continue;
    const std::string folder = path.substr(0, at);
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return FailErrno(errno, folder);
  }
  auto sink = FileSink::Create(path);
  if (!sink) return Pass(sink);
  if (Status s = (*sink)->Write(bytes); !s) return s;
  return (*sink)->Commit();
}

Result<std::optional<ReceiveState>> FileReceiveLog::Load() {
  auto bytes = ReadWhole(path_);
  if (!bytes) return Pass(bytes);
  if (bytes->empty()) return std::nullopt;
  if (bytes->size() > kMaxState) return Fail(EBADMSG, path_ + ": too large for a receive state");
  auto state = ParseState({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!state) {
    return Fail(state.error().code, path_ + ": damaged: " + state.error().text +
                                        "; bring the device back to a known snapshot, then "
                                        "ddsnap delta receive --forget");
  }
  return *state;
}

Status FileReceiveLog::Save(const ReceiveState& state) {
  const std::string text = FormatState(state);
  return Replace(path_, std::as_bytes(std::span(text)));
}

Result<std::vector<std::byte>> FileReceiveLog::LoadRedo() { return ReadWhole(path_ + ".redo"); }

Status FileReceiveLog::SaveRedo(std::span<const std::byte> redo) {
  return Replace(path_ + ".redo", redo);
}

Status FileReceiveLog::DropRedo() {
  const std::string path = path_ + ".redo";
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return FailErrno(errno, path);
}

Status FileReceiveLog::Forget() {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return FailErrno(errno, path_);
  return DropRedo();
}

}  // namespace ddsnap::repl
