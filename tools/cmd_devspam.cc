// SPDX-License-Identifier: GPL-2.0
// ddsnap devspam [--verify] [--seed N] [--generation N] [--percent N] DEVICE
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>

#include "commands.h"
#include "control_verb.h"
#include "progress.h"
#include "repl/aligned_bytes.h"
#include "repl/content_device.h"
#include "repl/ordered_work.h"
#include "repl/spam.h"

namespace ddsnap {
namespace {

using repl::kSpamBlock;
constexpr size_t kPiece = 1 << 20;

struct Options {
  bool verify = false;
  uint64_t seed = 0;
  std::optional<uint64_t> generation;
  unsigned percent = 100;
  std::string device;
  bool json = false;
};

// A run of blocks.
struct Slot {
  uint64_t block = 0;
  size_t blocks = 0;
  repl::AlignedBytes buffer = repl::AlignedBytes(kPiece);
  [[nodiscard]] std::span<std::byte> At(size_t i) {
    return std::span(buffer).subspan(i * kSpamBlock, kSpamBlock);
  }
};

struct Found {
  uint64_t good = 0;
  uint64_t lowest = UINT64_MAX;  // generation
  uint64_t highest = 0;
};

class Devspam {
 public:
  Devspam(const Options& options, const repl::ContentDevice& device)
      : options_(options), device_(device), blocks_(device.size() / kSpamBlock) {}

  [[nodiscard]] Status Fill() {
    if (Status s = ChooseGeneration(); !s) return s;
    Status s = Run("writing", [this](Slot& slot) { return Write(slot); },
                   [](Slot&) { return Status(); });
    return s ? device_.Flush() : s;
  }

  [[nodiscard]] Status Verify() {
    return Run("verifying",
               [this](Slot& slot) {
                 return device_.Read(slot.block * kSpamBlock,
                                     std::span(slot.buffer).first(slot.blocks * kSpamBlock));
               },
               [this](Slot& slot) { return Check(slot); });
  }

  [[nodiscard]] uint64_t blocks() const { return options_.verify ? found_.good : written_.load(); }
  [[nodiscard]] uint64_t generation() const { return generation_; }
  [[nodiscard]] const Found& found() const { return found_; }

 private:
  template <typename Work, typename Drain>
  Status Run(const char* what, Work work, Drain drain) {
    uint64_t next = 0;
    repl::OrderedWork<Slot> pipeline(repl::DefaultThreads());
    Status status = pipeline.Run(
        [&](Slot& slot) -> Result<bool> {
          slot.block = next;
          slot.blocks = static_cast<size_t>(
              std::min<uint64_t>(kPiece / kSpamBlock, blocks_ - next));
          next += slot.blocks;
          return slot.blocks > 0;
        },
        work,
        [&](Slot& slot) -> Status {
          line_.Show(what, (slot.block + slot.blocks) * kSpamBlock, blocks_ * kSpamBlock);
          return drain(slot);
        });
    line_.Clear();
    return status;
  }

  // By default one more than what is there, so that every run changes all.
  Status ChooseGeneration() {
    generation_ = options_.generation.value_or(1);
    if (options_.generation || blocks_ == 0) return {};
    repl::AlignedBytes first(kSpamBlock);
    if (Status s = device_.Read(0, first); !s) return s;
    if (auto id = repl::ReadSpam(first)) generation_ = id->generation + 1;
    return {};
  }

  // Chosen blocks next to each other go out in one write.
  Status Write(Slot& slot) {
    size_t begin = 0;
    for (size_t i = 0; i <= slot.blocks; ++i) {
      const repl::SpamId id{slot.block + i, generation_, options_.seed};
      if (i < slot.blocks && repl::SpamChooses(id, options_.percent)) {
        repl::FillSpam(id, slot.At(i));
        ++written_;
        continue;
      }
      if (i > begin) {
        const auto run = std::span(slot.buffer).subspan(begin * kSpamBlock, (i - begin) * kSpamBlock);
        if (Status s = device_.Write((slot.block + begin) * kSpamBlock, run); !s) return s;
      }
      begin = i + 1;
    }
    return {};
  }

  Status Check(Slot& slot) {
    for (size_t i = 0; i < slot.blocks; ++i) {
      const auto id = repl::ReadSpam(slot.At(i));
      const std::string place = device_.name() + ": block at byte " +
                                std::to_string((slot.block + i) * kSpamBlock) + ": ";
      if (!id) return Fail(EBADMSG, place + "damaged, or not written by devspam");
      if (id->block != slot.block + i) {
        return Fail(EBADMSG, place + "belongs to byte " + std::to_string(id->block * kSpamBlock));
      }
      if (id->seed != options_.seed) {
        return Fail(EBADMSG, place + "was written with seed " + std::to_string(id->seed));
      }
      if (options_.generation && id->generation != *options_.generation) {
        return Fail(EBADMSG, place + "is of generation " + std::to_string(id->generation));
      }
      ++found_.good;
      found_.lowest = std::min(found_.lowest, id->generation);
      found_.highest = std::max(found_.highest, id->generation);
    }
    return {};
  }

  const Options& options_;
  const repl::ContentDevice& device_;
  const uint64_t blocks_;
  uint64_t generation_ = 0;
  std::atomic<uint64_t> written_ = 0;  // blocks
  Found found_;
  ProgressLine line_;
};

void Print(const Options& options, const Devspam& spam) {
  const Found& found = spam.found();
  if (options.json) {
    nlohmann::json out = {{"blocks", spam.blocks()}, {"block_size", kSpamBlock}};
    if (!options.verify) out["generation"] = spam.generation();
    if (options.verify && found.good > 0) out["generations"] = {found.lowest, found.highest};
    PrintJson(out);
  } else if (!options.verify) {
    std::printf("%s: %llu blocks of generation %llu\n", options.device.c_str(),
                static_cast<unsigned long long>(spam.blocks()),
                static_cast<unsigned long long>(spam.generation()));
  } else {
    std::printf("%s: %llu blocks are good", options.device.c_str(),
                static_cast<unsigned long long>(found.good));
    if (found.good > 0) {
      std::printf(", generations %llu to %llu", static_cast<unsigned long long>(found.lowest),
                  static_cast<unsigned long long>(found.highest));
    }
    std::printf("\n");
  }
}

Result<int> RunVerb(const Options& options) {
  auto device = options.verify ? repl::ContentDevice::OpenToRead(options.device)
                               : repl::ContentDevice::OpenToChange(options.device);
  if (!device) return Pass(device);
  Devspam spam(options, **device);
  if (Status s = options.verify ? spam.Verify() : spam.Fill(); !s) return Pass(s);
  Print(options, spam);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.AddFlag("--verify", &options->verify, "check what is there instead of writing");
  args.Add("--seed", &options->seed, "another seed makes other content (default 0)");
  args.Add("--generation", &options->generation,
                 "number of this run (default: one more than the first block has)");
  args.Add("--percent", &options->percent, "write only so many of 100 blocks, here and there")
      .InRange(1, 100);
  args.Add("DEVICE", &options->device, "device or file, all of which is overwritten")
      .Required();
  AddJson(args, &options->json);
  return [options] { return RunVerb(*options); };
}

}  // namespace

const Command kDevspam = {
    "devspam", {}, "fill a device with blocks that describe themselves, for tests", Declare};

}  // namespace ddsnap
