// SPDX-License-Identifier: GPL-2.0
// ddsnap initialize [-y] [-c CHUNKSIZE] [-j JOURNALSIZE] STORE ORIGIN [META]
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/uuid.h"
#include "cli/output.h"
#include "commands.h"
#include "control_verb.h"
#include "io/device_number.h"
#include "io/signature.h"
#include "store/snapstore.h"
#include "store_devices.h"

namespace ddsnap {
namespace {

struct Options {
  bool yes = false;
  bool json = false;
  FormatOptions format;
  StorePaths paths;
  std::string origin;
};

Status OriginIsAnother(const Options& options) {
  auto origin = NumberOf(options.origin);
  if (!origin) return Pass(origin);
  for (const std::string* path : {&options.paths.store, &options.paths.meta}) {
    if (path->empty()) continue;
    auto number = NumberOf(*path);
    if (!number) return Pass(number);
    if (*number == *origin) {
      return Fail(EINVAL, *path + " and " + options.origin + " are the same device");
    }
  }
  return {};
}

// Nothing recognizable is overwritten without a yes.
Status MayOverwrite(FileDevice& device, const Options& options) {
  if (options.yes) return {};
  std::string holds;
  if (SnapStore::IsFormatted(device)) {
    holds = "a snapshot store";
  } else {
    auto signature = FindSignature(device.name());
    if (!signature) return Pass(signature);
    if (signature->empty()) return {};
    holds = *signature;
  }
  if (Confirm(device.name() + " holds " + holds + ". Lose it?")) return {};
  return Fail(EEXIST, device.name() + ": holds " + holds + "; -y overwrites it");
}

Status PrintResult(const Options& options, const StoreDevices& devices) {
  auto store = SnapStore::Open(devices.store(), devices.meta(), {.read_only = true});
  if (!store) return Pass(store);
  const StoreSpace space = (*store)->space();
  const uint64_t chunk = (*store)->chunk_size();
  if (options.json) {
    PrintJson({{"volume_uuid", FormatUuid((*store)->uuid())},
               {"chunk_size", chunk},
               {"origin_size", (*store)->origin_size()},
               {"store",
                {{"total_chunks", space.total_chunks},
                 {"free_chunks", space.free_chunks},
                 {"metadata_bytes", space.metadata_bytes}}}});
    return {};
  }
  std::printf("%s: store of volume %s, chunks of %s, %s for snapshots\n",
              devices.store().name().c_str(), FormatUuid((*store)->uuid()).c_str(),
              FormatSize(chunk).c_str(), FormatSize(space.free_chunks * chunk).c_str());
  return {};
}

Result<int> Run(Options& options) {
  if (Status s = OriginIsAnother(options); !s) return Pass(s);
  auto size = SizeOf(options.origin);
  if (!size) return Pass(size);
  options.format.origin_size = *size;
  auto devices = StoreDevices::Open(options.paths, true);
  if (!devices) return Pass(devices);
  if (Status s = MayOverwrite(devices->store(), options); !s) return Pass(s);
  if (devices->meta() != nullptr) {
    if (Status s = MayOverwrite(*devices->meta(), options); !s) return Pass(s);
  }
  if (Status s = SnapStore::Format(devices->store(), devices->meta(), options.format); !s) {
    return Pass(s);
  }
  if (Status s = PrintResult(options, *devices); !s) return Pass(s);
  return 0;
}

Action Declare(Arguments& args) {
  auto options = std::make_shared<Options>();
  args.AddFlag("-y,--yes", &options->yes, "overwrite whatever STORE and META hold");
  args.AddParsed(
      "-c,--chunk-size",
      [options](const std::string& text) -> Status {
        auto size = ParseSize(text);
        if (!size || *size > UINT32_MAX) return Fail(EINVAL, "--chunk-size: bad size " + text);
        options->format.chunk_size = static_cast<uint32_t>(*size);
        return {};
      },
      "unit of copying, 4K to 1M (16K)");
  AddSize(args, "-j,--journal-size", &options->format.journal_size, "journal (chosen by the size)");
  args.Add("STORE", &options->paths.store, "device or file that becomes the snapshot store")
      .Required();
  args.Add("ORIGIN", &options->origin, "device whose contents the snapshots keep").Required();
  args.Add("META", &options->paths.meta, "a device of its own for the metadata");
  AddJson(args, &options->json);
  return [options] { return Run(*options); };
}

}  // namespace

const Command kInitialize = {"initialize", {"init"}, "make a new, empty snapshot store", Declare};

}  // namespace ddsnap
