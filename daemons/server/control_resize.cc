// SPDX-License-Identifier: GPL-2.0
// The verb that tells the store of new sizes.
//
// Sizes change between two links: the old one is closed, and HELLO of the new one
// tells what sizes the kernel sees.  Every copy that was begun before has been recorded by
// then, under the sizes that it was made for.
#include <algorithm>
#include <cerrno>
#include <string>

#include "base/log.h"
#include "control_session.h"
#include "kernel_session.h"
#include "server.h"
#include "wire/json.h"

namespace ddsnap::server {
namespace {

using Json = nlohmann::json;

// Of an origin's new size: the kernel refuses a table of another length on devices of such blocks
// when it is switched to, and when it is too late to refuse here.
constexpr uint64_t kOriginBlock = 4096;

// 0 as a size: as large as the device is.
Result<std::optional<uint64_t>> Wanted(const Json& request, const char* field) {
  if (!request.contains(field)) return std::nullopt;
  auto bytes = wire::GetNumber(request, field, 0, INT64_MAX);
  if (!bytes) return Pass(bytes);
  return static_cast<uint64_t>(*bytes);
}

std::unexpected<Error> KernelSees(const char* what, uint64_t sectors) {
  return Fail(EINVAL,
              std::string("the kernel sees ") + what + " of " + std::to_string(sectors * 512) +
                  " bytes; a module that was loaded before this version learns that when all "
                  "devices of the volume are made anew");
}

}  // namespace

Result<ControlSession::Sizes> ControlSession::Resolve(const Sizes& wanted) {
  Volume& volume = server_.volume();
  Sizes sizes = wanted;
  auto devices = volume.DeviceSizes();
  if (!devices) return Pass(devices);
  const uint64_t present = server_.store().origin_size();
  if (sizes.origin == uint64_t{0}) {
    const uint64_t whole = devices->origin / kOriginBlock * kOriginBlock;
    sizes.origin = devices->origin >= present ? std::max(whole, present) : whole;
  }
  if (sizes.store == uint64_t{0}) sizes.store = devices->store;
  if (sizes.meta == uint64_t{0}) sizes.meta = devices->meta;
  if (sizes.origin && *sizes.origin > devices->origin)
    return Fail(EINVAL, "origin: its device has " + std::to_string(devices->origin) +
                            " bytes, not " + std::to_string(*sizes.origin));
  if (sizes.origin && *sizes.origin % kOriginBlock != 0 && *sizes.origin != present)
    return Fail(EINVAL, "origin: a new size must be a multiple of " + std::to_string(kOriginBlock));
  if (sizes.origin && *sizes.origin < present) {
    auto longest = volume.LongestOriginTable();
    if (!longest) return Pass(longest);
    if (*longest > *sizes.origin)
      return Fail(EBUSY, "origin: a device of " + std::to_string(*longest) + " bytes shows it");
  }
  const KernelSession* kernel = server_.kernel();
  if (kernel == nullptr) return sizes;
  if (sizes.origin && *sizes.origin / 512 > kernel->origin_sectors())
    return KernelSees("an origin", kernel->origin_sectors());
  if (sizes.store && *sizes.store / 512 > kernel->store_sectors())
    return KernelSees("a snapshot store", kernel->store_sectors());
  return sizes;
}

Result<Json> ControlSession::ResizeNow(const Sizes& wanted) {
  SnapStore& store = server_.store();
  auto sizes = Resolve(wanted);
  if (!sizes) return Pass(sizes);
  if (sizes->store || sizes->meta) {
    if (Status s = store.Resize(sizes->store.value_or(0), sizes->meta.value_or(0)); !s)
      return Pass(s);
  }
  if (sizes->origin) {
    if (Status s = store.SetOriginSize(*sizes->origin); !s) return Pass(s);
  }
  Log(LOG_NOTICE, "sizes: origin " + std::to_string(store.origin_size()) + ", store " +
                      std::to_string(store.store_size()) + " bytes");
  server_.BackgroundWork();
  return Json{{"origin_size", store.origin_size()},
              {"store_size", store.store_size()},
              {"meta_size", store.meta_size()}};
}

ControlSession::Answered ControlSession::DoResize(const Json& request) {
  Sizes wanted;
  for (const auto& [field, size] :
       {std::pair{"origin", &wanted.origin}, {"store", &wanted.store}, {"meta", &wanted.meta}}) {
    auto bytes = Wanted(request, field);
    if (!bytes) return Pass(bytes);
    *size = *bytes;
  }
  if (wanted.meta && server_.store().meta_size() == 0)
    return Fail(EINVAL, "there is no metadata device");
  server_.Relink();
  server_.link_waiter().Wait(
      [this, answer = Later(), wanted, weak = session_.weak_from_this()](const Status& s) {
        const auto alive = weak.lock();
        if (!alive) return;
        if (!s) return answer(std::unexpected(s.error()));
        if (server_.abandoned()) return answer(std::unexpected(*server_.abandoned()));
        answer(ResizeNow(wanted));
      });
  return std::nullopt;
}

}  // namespace ddsnap::server
