// SPDX-License-Identifier: GPL-2.0
#include "store/dumper.h"

#include <nlohmann/json.hpp>

#include "store/snapstore_impl.h"

namespace ddsnap {
namespace {

using Json = nlohmann::ordered_json;

std::string Hex(const Uuid& uuid) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += digits[uuid[i] >> 4];
    out += digits[uuid[i] & 15];
  }
  return out;
}

const char* StateName(Snapshot::State state) {
  switch (state) {
    case Snapshot::State::kOk:
      return "ok";
    case Snapshot::State::kGivenUp:
      return "given-up";
    case Snapshot::State::kDeleting:
      return "deleting";
    case Snapshot::State::kBookmark:
      return "bookmark";
  }
  return "?";
}

Json Head(const SnapStoreImpl& store) {
  const Superblock& super = store.superblock();
  const StoreSpace space = store.space();
  return {{"volume_uuid", Hex(super.uuid)},
          {"generation", super.generation},
          {"chunk_size", super.chunk_bytes},
          {"origin_size", super.origin_bytes},
          {"metadata_device", super.separate},
          {"epoch", super.epoch},
          {"attached", super.attached},
          {"reverting", super.reverting},
          {"journal_block", super.journal_block},
          {"journal_blocks", super.journal_blocks},
          {"total_chunks", space.total_chunks},
          {"free_chunks", space.free_chunks},
          {"metadata_bytes", space.metadata_bytes}};
}

Json Of(const Snapshot& snap, const SnapshotSpace& space) {
  return {
      {"epoch", snap.epoch},       {"tag", snap.tag},           {"state", StateName(snap.state)},
      {"priority", snap.priority}, {"usecount", snap.usecount}, {"created_ns", snap.created_ns},
      {"size", snap.size},         {"chunks", space.chunks},    {"unshared", space.unshared}};
}

// `item` with where its content is.
Json Placed(Json item, uint64_t address) {
  if (address == kNoAddress) {
    item["unreadable"] = true;
  } else if (address == kNotKept) {
    item["kept"] = false;
  } else {
    item["address"] = address;
  }
  return item;
}

// Prints either form of a list of flat objects.
class Printer {
 public:
  Printer(bool json, const std::function<void(std::string_view)>& out) : json_(json), out_(out) {}
  void Fields(const Json& object) {
    if (!json_) {
      for (const auto& [key, value] : object.items()) out_(key + " " + value.dump() + "\n");
      return;
    }
    std::string text = object.dump();
    text.pop_back();  // the object stays open
    out_(text);
  }
  void Open(const char* name) {
    name_ = name;
    first_ = true;
    if (json_) out_(",\n\"" + name_ + "s\":[");
  }
  void Item(const Json& object) {
    if (json_) {
      out_((first_ ? "\n" : ",\n") + object.dump());
    } else {
      std::string line = name_;
      for (const auto& [key, value] : object.items()) line += " " + key + "=" + value.dump();
      out_(line + "\n");
    }
    first_ = false;
  }
  void Close() {
    if (json_) out_("]");
  }
  void End() {
    if (json_) out_("}\n");
  }

 private:
  const bool json_;
  const std::function<void(std::string_view)>& out_;
  std::string name_;
  bool first_ = true;
};

}  // namespace

Status DumpStore(BlockDevice& store, BlockDevice* meta, bool json,
                 const std::function<void(std::string_view)>& out) {
  OpenOptions options;
  options.read_only = true;
  SnapStoreImpl impl(store, meta, options);
  if (Status s = impl.Recover(); !s) return s;
  Printer print(json, out);
  print.Fields(Head(impl));
  print.Open("snapshot");
  for (const Snapshot& snap : impl.snapshots()) {
    auto space = impl.SpaceOf(snap.epoch);
    if (!space) return Pass(space);
    print.Item(Of(snap, *space));
  }
  print.Close();
  print.Open("grant");
  for (const auto& [start, end] : impl.grants().ranges())
    print.Item({{"address", start}, {"count", end - start}});
  print.Close();
  print.Open("exception");
  Status s = impl.tree(disk::kExceptions).Scan({}, [&](const Entry& e) {
    print.Item(Placed({{"chunk", e.key.major}, {"epoch", e.key.minor}}, e.value[0]));
    return true;
  });
  if (!s) return s;
  print.Close();
  print.Open("private");
  s = impl.tree(disk::kPrivates).Scan({}, [&](const Entry& e) {
    print.Item(Placed({{"epoch", e.key.major}, {"chunk", e.key.minor}}, e.value[0]));
    return true;
  });
  if (!s) return s;
  print.Close();
  print.End();
  return {};
}

}  // namespace ddsnap
