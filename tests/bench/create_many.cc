// SPDX-License-Identifier: GPL-2.0
// Makes the snapshots FIRST to LAST over one connection: a thousand starts of a
// program would take the benchmark longer than the row that they prepare.
//   bench-create-many SOCK FIRST LAST
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "wire/control.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-create-many SOCK FIRST LAST\n");
    return 2;
  }
  auto client = ddsnap::ControlClient::Connect(argv[1]);
  if (!client) {
    std::fprintf(stderr, "bench-create-many: %s\n", client.error().text.c_str());
    return 1;
  }
  const uint64_t last = std::strtoull(argv[3], nullptr, 10);
  for (uint64_t tag = std::strtoull(argv[2], nullptr, 10); tag <= last; ++tag) {
    auto answer = client->Call({{"verb", "create"}, {"tag", tag}});
    if (!answer) {
      std::fprintf(stderr, "bench-create-many: %s\n", answer.error().text.c_str());
      return 1;
    }
  }
  return 0;
}
