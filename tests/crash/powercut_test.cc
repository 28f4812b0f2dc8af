// SPDX-License-Identifier: GPL-2.0
// One recorded history after another, with the power cut at every single write of it.
// ZUMASTOR_SEED=N runs one history, ZUMASTOR_CUT=N with it one cut.
#include <cstdio>
#include <cstdlib>

#include "simulation.h"

using namespace ddsnap;

namespace {

constexpr uint64_t kSteps = 700;

uint64_t FromEnv(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

Simulation::Options OptionsFor(uint64_t seed) {
  Simulation::Options options;
  options.seed = seed;
  options.origin_chunks = 48;
  options.store_bytes = seed % 2 == 0 ? 2 << 20 : 48 * 4096 * 2;
  options.meta_bytes = seed % 2 == 0 ? 0 : 2 << 20;
  options.max_snapshots = 6;
  return options;
}

// Runs the history of `seed` up to the cut, recovers, and goes on for a while.
// `writes` gets how many writes the history has when it is not cut.
bool RunOnce(uint64_t seed, uint64_t cut, uint64_t* writes) {
  Simulation sim(OptionsFor(seed));
  bool good = sim.Start();
  const uint64_t first = sim.power().writes();
  sim.power().CutAt(cut == ~uint64_t{0} ? cut : first + cut);
  while (good && sim.steps() < kSteps) good = sim.StepOnce();
  if (writes != nullptr) *writes = sim.power().writes() - first;
  if (!good && sim.why().empty() && sim.power().off()) {
    good = sim.RecoverFromPowerCut();
    const uint64_t until = sim.steps() + 60;
    while (good && sim.steps() < until) good = sim.StepOnce();
    good = good && sim.Verify();
  }
  if (!good)
    std::printf("seed %llu cut %llu: FAILED: %s\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(cut), sim.why().c_str());
  return good;
}

}  // namespace

int main() {
  const uint64_t only = FromEnv("ZUMASTOR_SEED", 0);
  const uint64_t histories = FromEnv("ZUMASTOR_HISTORIES", 6);
  const uint64_t one_cut = FromEnv("ZUMASTOR_CUT", ~uint64_t{0});
  uint64_t cuts = 0;
  uint64_t failed = 0;
  for (uint64_t seed = only != 0 ? only : 1; seed <= (only != 0 ? only : histories); ++seed) {
    uint64_t writes = 0;
    if (one_cut != ~uint64_t{0}) return RunOnce(seed, one_cut, nullptr) ? 0 : 1;
    failed += RunOnce(seed, ~uint64_t{0}, &writes) ? 0 : 1;
    for (uint64_t cut = 0; cut < writes && failed < 10; ++cut, ++cuts)
      failed += RunOnce(seed, cut, nullptr) ? 0 : 1;
  }
  std::printf("power cuts: %llu, %llu failed\n", static_cast<unsigned long long>(cuts),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
