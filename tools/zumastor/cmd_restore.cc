// SPDX-License-Identifier: GPL-2.0
// zumastor restore DIR [DEVICE] [--tag TAG]
#include <cerrno>
#include <cstdio>
#include <memory>

#include "../control_verb.h"
#include "../delta_receiver.h"
#include "base/uuid.h"
#include "cli/options.h"
#include "cli/output.h"
#include "commands.h"
#include "delta_folder.h"
#include "repl/aligned_bytes.h"
#include "repl/apply_delta.h"

namespace ddsnap {
namespace {

using nlohmann::json;
using Chain = std::vector<DeltaFile>;

struct Options {
  std::string folder;
  std::string device;
  std::optional<Tag> tag;
  bool json = false;
};

struct Needs {
  uint64_t bytes = 0;   // of files to read
  uint64_t device = 0;  // bytes that the device must have
};

Needs NeedsOf(const Chain& chain) {
  Needs needs;
  for (const DeltaFile& file : chain) {
    needs.bytes += file.bytes;
    needs.device = std::max(needs.device, file.head.target.size);
  }
  return needs;
}

json IdentityJson(const repl::SnapshotId& id) {
  return {{"tag", id.tag},
          {"epoch", id.epoch},
          {"size", id.size},
          {"created", FormatTime(id.created_ns / 1'000'000'000)}};
}

// What was checked is read once more only.
class CheckedDelta : public repl::ByteSource {
 public:
  explicit CheckedDelta(std::unique_ptr<repl::FileSource> file) : file_(std::move(file)) {}
  Result<size_t> Read(std::span<std::byte> out) override { return file_->Read(out); }
  [[nodiscard]] bool rewindable() const override { return false; }
  Status Rewind() override { return Fail(ESPIPE, name() + ": is read only once"); }
  [[nodiscard]] const std::string& name() const override { return file_->name(); }

 private:
  std::unique_ptr<repl::FileSource> file_;
};

// Brings a device through the deltas of a chain.  Its log is not that of `ddsnap delta receive`: it
// is there only while a restore is under way, so a device that was used since is never gone on
// with.
class Restorer {
 public:
  [[nodiscard]] static Result<Restorer> Prepare(const Options& options, Chain chain);
  [[nodiscard]] Status Run();
  [[nodiscard]] bool resumed() const { return resumed_; }

 private:
  Restorer(const Options& options, Chain chain, DeltaReceiver received, DeltaReceiver receiver)
      : options_(options),
        chain_(std::move(chain)),
        received_(std::move(received)),
        receiver_(std::move(receiver)) {}
  [[nodiscard]] Result<bool> StillHolds(const repl::ReceiveState& state) const;
  [[nodiscard]] Result<size_t> FindStart();
  [[nodiscard]] Status Verify(size_t begin, size_t end);
  [[nodiscard]] Status Apply(size_t begin);

  const Options& options_;
  const Chain chain_;
  DeltaReceiver received_;  // knows the log of earlier streams
  DeltaReceiver receiver_;
  std::unique_ptr<repl::ContentDevice> content_;
  bool resumed_ = false;
};

Result<Restorer> Restorer::Prepare(const Options& options, Chain chain) {
  ReceiverOptions receive;
  receive.device = options.device;
  receive.no_snapshot = true;
  receive.json = options.json;
  auto received = DeltaReceiver::Find(receive);
  if (!received) return Pass(received);
  receive.state = received->log().path() + ".restore";
  auto receiver = DeltaReceiver::Find(receive);
  if (!receiver) return Pass(receiver);
  Restorer restorer(options, std::move(chain), std::move(*received), std::move(*receiver));
  if (Status s = restorer.receiver_.Open(); !s) return Pass(s);
  auto content = repl::ContentDevice::OpenToRead(options.device);
  if (!content) return Pass(content);
  restorer.content_ = std::move(*content);
  const uint64_t needed = NeedsOf(restorer.chain_).device;
  const uint64_t size = restorer.content_->size();
  if (size < needed) {
    return Fail(ENOSPC, options.device + ": too small: it has " + std::to_string(size) +
                            " bytes, " + std::to_string(needed) + " are needed");
  }
  return restorer;
}

// Whether this is the device, unchanged as far as one extent can tell, that the state is about.
// Where there is no such extent only a full delta will do, which writes all of it again.
Result<bool> Restorer::StillHolds(const repl::ReceiveState& state) const {
  if (state.size != content_->size()) return false;
  if (!state.last) return !state.complete && state.what.base.none;
  if (state.last->offset > state.size || state.last->length > state.size - state.last->offset) {
    return false;
  }
  repl::AlignedBytes bytes(state.last->length);
  if (Status s = content_->Read(state.last->offset, bytes); !s) return Pass(s);
  return repl::Checksum(bytes) == state.last->sum;
}

// The delta at which a restore that was cut off goes on, or the first.
Result<size_t> Restorer::FindStart() {
  const auto state = receiver_.log().Load();
  if (state && *state) {
    auto same = StillHolds(**state);
    if (!same) return Pass(same);
    for (size_t i = 0; *same && i < chain_.size(); ++i) {
      if (!SameJourney(chain_[i].head, (*state)->what)) continue;
      resumed_ = true;
      return (*state)->complete ? i + 1 : i;
    }
  }
  // A full delta needs nothing of what is there, whatever the log says or fails to say.
  if (Status s = receiver_.log().Forget(); !s) return Pass(s);
  return 0;
}

// Nothing is written for the sake of a chain that breaks off in the middle.
Status Restorer::Verify(size_t begin, size_t end) {
  ProgressLine line(options_.json);
  repl::ApplyOptions verify;
  verify.progress = [&line](const char* what, uint64_t done, uint64_t total) {
    line.Show(what, done, total);
  };
  for (size_t i = begin; i < end; ++i) {
    auto source = repl::FileSource::Open(chain_[i].path);
    if (!source) return Pass(source);
    auto summary = repl::VerifyDelta(**source, nullptr, verify);
    if (!summary) return Pass(summary);
  }
  return {};
}

Status Restorer::Apply(size_t begin) {
  ProgressLine line(options_.json);
  for (size_t i = begin; i < chain_.size(); ++i) {
    auto source = repl::FileSource::Open(chain_[i].path);
    if (!source) return Pass(source);
    CheckedDelta delta(std::move(*source));
    auto summary = receiver_.Receive(delta, line);
    if (!summary) return Pass(summary);
  }
  return {};
}

Status Restorer::Run() {
  auto start = FindStart();
  if (!start) return Pass(start);
  if (Status s = Verify(*start, chain_.size()); !s) return s;
  // From here on the device is nothing that an earlier stream has made of it.
  if (Status s = received_.log().Forget(); !s) return s;
  Status status = Apply(*start);
  if (!status && status.error().code == ESTALE && *start > 0) {
    // Somebody has written to it since the restore was cut off.
    resumed_ = false;
    if (Status s = Verify(0, *start); !s) return s;
    if (Status s = receiver_.log().Forget(); !s) return s;
    status = Apply(0);
  }
  if (!status) return status;
  return receiver_.log().Forget();
}

Result<repl::SnapshotId> Wanted(const DeltaFolder& folder, const Options& options) {
  return options.tag ? folder.WithTag(*options.tag) : folder.Latest();
}

Result<int> RestoreDevice(const DeltaFolder& folder, const Options& options) {
  auto wanted = Wanted(folder, options);
  if (!wanted) return Pass(wanted);
  auto chain = folder.ChainTo(*wanted);
  if (!chain) return Pass(chain);
  const Needs needs = NeedsOf(*chain);
  const std::string volume = FormatUuid(*folder.volume());
  auto restorer = Restorer::Prepare(options, *chain);
  if (!restorer) return Pass(restorer);
  if (Status s = restorer->Run(); !s) return Pass(s);
  if (options.json) {
    json out = IdentityJson(*wanted);
    out["volume_uuid"] = volume;
    out["deltas"] = chain->size();
    out["bytes"] = needs.bytes;
    out["resumed"] = restorer->resumed();
    PrintJson(out);
    return 0;
  }
  const std::string created = FormatTime(wanted->created_ns / 1'000'000'000);
  std::printf("%s: now holds %s of volume %s, created %s%s\n", options.device.c_str(),
              repl::Describe(*wanted).c_str(), volume.c_str(), created.c_str(),
              restorer->resumed() ? " (went on with a restore that was cut off)" : "");
  return 0;
}

Result<int> ListSnapshots(const DeltaFolder& folder, const Options& options) {
  json all = json::array();
  Table table({"TAG", "EPOCH", "CREATED", "SIZE", "TO READ"}, {0, 1, 3, 4});
  for (const repl::SnapshotId& id : folder.snapshots()) {
    if (options.tag && *options.tag != id.tag) continue;
    auto chain = folder.ChainTo(id);
    if (!chain) return Pass(chain);
    const Needs needs = NeedsOf(*chain);
    json one = IdentityJson(id);
    one["bytes"] = needs.bytes;
    one["device_size"] = needs.device;
    for (const DeltaFile& file : *chain) one["files"].push_back(file.path);
    table.Add({std::to_string(id.tag), std::to_string(id.epoch), one["created"],
               FormatSize(id.size), FormatSize(needs.bytes)});
    all.push_back(std::move(one));
  }
  std::vector<std::string> unusable = folder.unusable();
  for (const DeltaFile& file : folder.files()) {
    if (!file.whole) unusable.push_back(file.path + ": its end is missing");
  }
  if (options.json) {
    json out = {{"snapshots", std::move(all)}, {"unusable", unusable}};
    if (folder.volume()) out["volume_uuid"] = FormatUuid(*folder.volume());
    PrintJson(out);
    return 0;
  }
  table.Print();
  for (const std::string& line : unusable) std::printf("not usable: %s\n", line.c_str());
  return 0;
}

Result<int> Run(const Options& options) {
  auto folder = DeltaFolder::OpenToRead(options.folder);
  if (!folder) return Pass(folder);
  return options.device.empty() ? ListSnapshots(*folder, options) : RestoreDevice(*folder, options);
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.Add("DIR", &options->folder, "folder of deltas, as a file: target has it").Required();
  args.Add("DEVICE", &options->device,
           "plain device or file that becomes the snapshot; without it, list what DIR holds");
  AddTag(args, "--tag", &options->tag, "the snapshot (default: the newest)").TypeName("TAG");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kRestore = {
    "restore", {}, "make a device what a snapshot was, from a folder of deltas", Declare};

}  // namespace ddsnap
