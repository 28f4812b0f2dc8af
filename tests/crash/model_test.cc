// SPDX-License-Identifier: GPL-2.0
// Random histories against the model, with server restarts and now and then a
// power cut.  ZUMASTOR_SEED=N runs one seed; ZUMASTOR_STEPS=N sets how many steps all
// seeds take together.  Seeds that failed are kept (kept_seeds.h) and come first.
#include <cstdio>
#include <cstdlib>

#include "kept_seeds.h"
#include "simulation.h"

using namespace ddsnap;

namespace {

uint64_t FromEnv(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

Simulation::Options OptionsFor(uint64_t seed) {
  Simulation::Options options;
  options.seed = seed;
  std::mt19937_64 random(seed * 7919);
  const uint32_t shapes[] = {4096, 4096, 8192, 65536};
  options.chunk_size = shapes[random() % 4];
  options.origin_chunks = options.chunk_size == 65536 ? 24 : 64 + random() % 400;
  if (random() % 3 == 0) {
    options.meta_bytes = 3 << 20;
    options.store_bytes = options.origin_chunks * options.chunk_size * (1 + random() % 3);
  } else {
    options.store_bytes =
        (3 << 20) + options.origin_chunks * options.chunk_size * (1 + random() % 3);
  }
  options.max_snapshots = 2 + random() % 20;
  return options;
}

bool RunSeed(uint64_t seed, uint64_t steps) {
  Simulation sim(OptionsFor(seed));
  std::mt19937_64 random(seed + 1);
  bool good = sim.Start();
  uint64_t next_cut = sim.power().writes() + 500 + random() % 5000;
  sim.power().CutAt(next_cut);
  while (good && sim.steps() < steps) {
    good = sim.StepOnce();
    if (!good && sim.why().empty() && sim.power().off()) {
      good = sim.RecoverFromPowerCut();
      next_cut = sim.power().writes() + 500 + random() % 5000;
      sim.power().CutAt(next_cut);
    }
    if (good && sim.steps() % 500 == 0) {
      good = sim.Verify();
      if (!good && sim.why().empty() && sim.power().off()) good = sim.RecoverFromPowerCut();
    }
  }
  sim.power().CutAt(~uint64_t{0});
  good = good && sim.End();
  if (!good) {
    std::printf("seed %llu: FAILED: %s\n", static_cast<unsigned long long>(seed),
                sim.why().c_str());
    KeepSeed("model", seed);
  }
  return good;
}

}  // namespace

int main() {
  const uint64_t steps = FromEnv("ZUMASTOR_STEPS", 900000);
  const uint64_t per_seed = 6000;
  if (const uint64_t seed = FromEnv("ZUMASTOR_SEED", 0); seed != 0)
    return RunSeed(seed, per_seed) ? 0 : 1;
  uint64_t failed = 0;
  for (const uint64_t kept : KeptSeeds("model")) failed += RunSeed(kept, per_seed) ? 0 : 1;
  uint64_t seed = 1;
  for (; seed * per_seed <= steps; ++seed) failed += RunSeed(seed, per_seed) ? 0 : 1;
  std::printf("model: seeds 1 to %llu, %llu steps each, %llu failed\n",
              static_cast<unsigned long long>(seed - 1), static_cast<unsigned long long>(per_seed),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
