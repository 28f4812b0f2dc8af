// SPDX-License-Identifier: GPL-2.0
#include "io/signature.h"

#include <blkid/blkid.h>

#include <cerrno>
#include <memory>

namespace ddsnap {
namespace {

using Probe = std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)>;

Result<Probe> NewProbe(const std::string& path) {
  errno = 0;
  Probe probe(::blkid_new_probe_from_filename(path.c_str()), ::blkid_free_probe);
  if (!probe) return FailErrno(errno != 0 ? errno : EIO, path);
  return probe;
}

}  // namespace

Result<std::string> FindFileSystem(const std::string& path) {
  auto opened = NewProbe(path);
  if (!opened) return Pass(opened);
  const Probe& probe = *opened;
  ::blkid_probe_enable_superblocks(probe.get(), 1);
  ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
  ::blkid_probe_filter_superblocks_usage(probe.get(), BLKID_FLTR_ONLYIN, BLKID_USAGE_FILESYSTEM);
  const int found = ::blkid_do_safeprobe(probe.get());
  if (found == -1) return Fail(EIO, path + ": cannot be read to see what it holds");
  const char* name = nullptr;
  if (found != 0 || ::blkid_probe_lookup_value(probe.get(), "TYPE", &name, nullptr) != 0)
    return std::string();
  return std::string(name);
}

Result<std::string> FindSignature(const std::string& path) {
  auto opened = NewProbe(path);
  if (!opened) return Pass(opened);
  const Probe& probe = *opened;
  ::blkid_probe_enable_superblocks(probe.get(), 1);
  ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
  ::blkid_probe_enable_partitions(probe.get(), 1);
  for (;;) {
    const int found = ::blkid_do_probe(probe.get());
    if (found < 0) return Fail(EIO, path + ": cannot be read to see what it holds");
    if (found > 0) return std::string();
    const char* name = nullptr;
    for (const char* tag : {"TYPE", "PTTYPE"}) {
      if (::blkid_probe_lookup_value(probe.get(), tag, &name, nullptr) == 0) return std::string(name);
    }
  }
}

}  // namespace ddsnap
