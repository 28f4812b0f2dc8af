// SPDX-License-Identifier: GPL-2.0
#include "snapshot_table.h"

#include <string>
#include <vector>

#include "cli/output.h"

namespace ddsnap {
namespace {

struct Column {
  const char* head;
  const char* field;
  bool right;
};

std::vector<Column> Choose(const SnapshotColumns& want) {
  std::vector<Column> columns = {{"TAG", "tag", true},
                                 {"STATE", "state", false},
                                 {"PRIORITY", "priority", true},
                                 {"USECOUNT", "usecount", true},
                                 {"CREATED", "created", false}};
  if (want.space) {
    columns.push_back({"CHUNKS", "chunks", true});
    columns.push_back({"SHARED", "shared", true});
    columns.push_back({"UNSHARED", "unshared", true});
  }
  if (want.verbose) {
    columns.push_back({"EPOCH", "epoch", true});
    columns.push_back({"BYTES", "size", true});
  }
  return columns;
}

}  // namespace

Status PrintSnapshots(const nlohmann::json& answer, const SnapshotColumns& want) {
  const auto snapshots = answer.find("snapshots");
  if (snapshots == answer.end() || !snapshots->is_array()) {
    return Fail(EPROTO, "server's answer has no snapshots");
  }
  const std::vector<Column> columns = Choose(want);
  std::vector<std::string> head;
  std::vector<size_t> right;
  for (const Column& column : columns) {
    if (column.right) right.push_back(head.size());
    head.emplace_back(column.head);
  }
  Table table(head, right);
  for (const auto& snapshot : *snapshots) {
    std::vector<std::string> row;
    for (const Column& column : columns) {
      const auto field = snapshot.is_object() ? snapshot.find(column.field) : snapshot.end();
      if (!snapshot.is_object() || field == snapshot.end()) {
        return Fail(EPROTO, std::string("server's answer has no ") + column.field);
      }
      row.push_back(field->is_string() ? field->get<std::string>() : field->dump());
    }
    table.Add(std::move(row));
  }
  table.Print();
  return {};
}

}  // namespace ddsnap
