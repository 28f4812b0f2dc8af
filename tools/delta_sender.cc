// SPDX-License-Identifier: GPL-2.0
#include "delta_sender.h"

#include <cerrno>

#include "cli/options.h"
#include "repl/rate_limit.h"
#include "snapshot_device.h"

namespace ddsnap {

void AddSendOptions(Arguments& args, SendOptions* options) {
  AddMode(args, &options->mode);
  Argument from =
      AddTag(args, "--from", &options->from,
             "snapshot or bookmark that the other side has; without it everything is sent");
  from.TypeName("TAG");
  args.Add("--resume", &options->resume, "what ddsnap delta receive --status printed")
      .TypeName("TOKEN")
      .Excludes(from);
  args.Add("--device", &options->device, "device of TAG, if it cannot be found").TypeName("DEV");
  args.Add("--from-device", &options->from_device, "device of the --from snapshot, likewise")
      .TypeName("DEV");
  AddSize(args, "--rate-limit", &options->rate, "bytes a second, at most");
  AddJson(args, &options->json);
  args.Add("SOCK", &options->socket, "the server's socket").Required();
  AddTag(args, "TAG", &options->tag, "snapshot to be sent");
}

Result<DeltaSender> DeltaSender::Prepare(const SendOptions& options) {
  DeltaSender sender(options);
  auto client = ControlClient::Connect(options.socket);
  if (!client) return Pass(client);
  if (Status s = sender.Choose(*client); !s) return Pass(s);
  if (Status s = sender.OpenDevices(); !s) return Pass(s);
  if (!sender.head_.base.none) {
    auto list = repl::ScratchFile::Create("changelist");
    if (!list) return Pass(list);
    sender.changelist_ = std::move(*list);
    auto counts = FetchChangelist(*client, sender.head_, *sender.changelist_);
    if (!counts) return Pass(counts);
  }
  return sender;
}

Status DeltaSender::Choose(ControlClient& client) {
  auto volume = ServerVolume::Ask(client);
  if (!volume) return Pass(volume);
  head_.volume = volume->uuid;
  head_.chunk_size = volume->chunk_size;
  head_.made_ns = NowNs();
  Result<repl::SnapshotId> base = repl::SnapshotId{.none = true};
  if (options_.resume.empty()) {
    if (!options_.tag) return Fail(EINVAL, "TAG: is needed without --resume");
    auto target = volume->WithTag(*options_.tag);
    if (!target) return Pass(target);
    head_.target = *target;
    if (options_.from) base = volume->BaseWithTag(*options_.from);
  } else {
    auto token = repl::ParseToken(options_.resume);
    if (!token) return Pass(token);
    if (token->volume != volume->uuid) {
      return Fail(ESTALE, options_.resume + ": is of another volume than " + options_.socket);
    }
    auto target = volume->WithEpoch(token->target);
    if (!target) return Pass(target);
    if (options_.tag && *options_.tag != target->tag) {
      return Fail(EINVAL, options_.resume + ": is of snapshot " + std::to_string(target->tag));
    }
    head_.target = *target;
    if (token->base) base = volume->BaseWithEpoch(*token->base);
    begin_ = token->position;
    limit_ = token->limit;
  }
  if (!base) return Pass(base);
  head_.base = *base;
  // What differs from the bookmark's content, nobody could notice.
  if (!base->none && volume->IsBookmark(*base) && !options_.from_device.empty())
    return Fail(EINVAL,
                "--from-device: " + repl::Describe(*base) + " is a bookmark, without contents");
  // What changed, writes to the base included, is sent without a look at it.  Who names a device
  // knows that it is the base.
  bookmark_ = !base->none && volume->HasLostContent(*base) && options_.from_device.empty();
  if (bookmark_ && !volume->IsBookmark(*base))
    warning_ = repl::Describe(*base) +
               ": was written to: the stream has no checksums of it, and only a volume's origin "
               "takes it; --from-device compares with what it is now";
  written_ = !base->none && volume->WasWritten(*base);
  auto begin = WhereToGoOn(begin_);
  if (!begin) return Pass(begin);
  if (*begin != begin_)
    warning_ = repl::Describe(*base) +
               ": was written to: all is sent again, without checksums of it, and only a volume's "
               "origin takes it";
  begin_ = *begin;
  if (!head_.base.none && head_.base.epoch >= head_.target.epoch) {
    return Fail(EINVAL,
                repl::Describe(head_.base) + ": is not older than " + repl::Describe(head_.target));
  }
  return {};
}

// A stream that was cut off left out where base and target were the same.  If somebody has written
// to the base, that may be where the receiver has something else.  Only a stream without base sums
// is taken whole in the midst of another.
Result<uint64_t> DeltaSender::WhereToGoOn(uint64_t position) const {
  if (!written_ || position == 0) return position;
  if (bookmark_) return 0;
  return Fail(ESTALE,
              repl::Describe(head_.base) +
                  ": was written to: nobody can tell whether what was received below byte " +
                  std::to_string(position) +
                  " came from --from-device: bring the receiver back to what it was, and "
                  "send the whole stream");
}

Status DeltaSender::OpenDevices() {
  const auto open = [this](const std::string& path, const repl::SnapshotId& id) {
    return path.empty() ? OpenSnapshot(options_.socket, head_.volume, id)
                        : repl::ContentDevice::OpenToRead(path);
  };
  auto to = open(options_.device, head_.target);
  if (!to) return Pass(to);
  to_ = std::move(*to);
  if (head_.base.none || bookmark_) return {};
  auto from = open(options_.from_device, head_.base);
  if (!from) return Pass(from);
  from_ = std::move(*from);
  return {};
}

// A write to the base may make it equal to the target where the receiver has something else, and
// then that was left out.
Status DeltaSender::CheckBaseStays() const {
  auto client = ControlClient::Connect(options_.socket);
  if (!client) return Pass(client);
  auto volume = ServerVolume::Ask(*client);
  if (!volume) return Pass(volume);
  if (!volume->WasWritten(head_.base)) return {};
  return Fail(ESTALE, repl::Describe(head_.base) + ": was written to while it was read");
}

Result<repl::CreateSummary> DeltaSender::Send(repl::ByteSink& out, uint64_t begin, uint64_t limit,
                                              ProgressLine& line) {
  repl::CreateOptions create = options_.mode.ToCreate();
  create.begin = begin;
  create.no_diff_below = limit;
  create.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  if (from_ && options_.from_device.empty())
    create.before_end = [this] { return CheckBaseStays(); };
  std::optional<repl::LimitedSink> limited;
  if (options_.rate != 0) limited.emplace(out, options_.rate);
  repl::ByteSink& sink = limited ? static_cast<repl::ByteSink&>(*limited) : out;
  if (head_.base.none) return CreateFullDelta(head_, *to_, sink, create);
  auto list = changelist_->Read();
  if (!list) return Pass(list);
  return CreateDelta(**list, from_.get(), *to_, sink, create);
}

}  // namespace ddsnap
