// SPDX-License-Identifier: GPL-2.0
// One recorded history after another, with the power cut at every single write
// of it; and with the server killed before every single write and flush, and
// the power cut just after it has started again, or the history going on.
// ZUMASTOR_SEED=N runs one history, ZUMASTOR_CUT=N or ZUMASTOR_KILL=N with it one end.
// Histories that failed are kept (kept_seeds.h) and come first.
#include <cstdio>
#include <cstdlib>

#include "kept_seeds.h"
#include "simulation.h"

using namespace ddsnap;

namespace {

constexpr uint64_t kSteps = 700;

std::array<uint64_t, 4> g_resized;  // in histories that were not cut

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
  if (seed % 3 == 0) {  // its space maps outgrow their pages
    options.store_bytes = seed % 2 == 0 ? 16 << 20 : 1 << 20;
    options.growth = seed % 2 == 0 ? 11 : 180;
  }
  return options;
}

// Runs the history of `seed` up to the cut, recovers, and goes on for a while.
// `writes` gets how many writes the history has when it is not cut.
bool RunOnce(uint64_t seed, uint64_t cut, uint64_t* writes) {
  static std::array<uint64_t, 4> none;
  std::array<uint64_t, 4>& resized = writes != nullptr ? g_resized : none;
  Simulation sim(OptionsFor(seed));
  bool good = sim.Start();
  const uint64_t first = sim.power().writes();
  sim.power().CutAt(cut == ~uint64_t{0} ? cut : first + cut);
  while (good && sim.steps() < kSteps) good = sim.StepOnce();
  if (writes != nullptr) *writes = sim.power().writes() - first;
  for (size_t i = 0; i < resized.size(); ++i) resized[i] += sim.resized()[i];
  if (!good && sim.why().empty() && sim.power().off()) {
    good = sim.RecoverFromPowerCut();
    const uint64_t until = sim.steps() + 60;
    while (good && sim.steps() < until) good = sim.StepOnce();
    good = good && sim.Verify();
  }
  if (good && cut % 16 == 15) good = sim.End();
  if (!good)
    std::printf("seed %llu cut %llu: FAILED: %s\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(cut), sim.why().c_str());
  return good;
}

// Runs the history of `seed` until the server is killed, and starts it again.
bool RunKilled(uint64_t seed, uint64_t kill) {
  Simulation sim(OptionsFor(seed));
  bool good = sim.Start();
  sim.power().KillAt(sim.power().acts() + kill);
  while (good && sim.steps() < kSteps) good = sim.StepOnce();
  if (!good && sim.why().empty() && sim.power().off()) {
    good = sim.RecoverFromKill();
    // What it may have told somebody must be there after a power cut.
    if (good) good = kill % 2 == 0 ? sim.RecoverFromPowerCut() : sim.Relink();
    const uint64_t until = sim.steps() + 60;
    while (good && sim.steps() < until) good = sim.StepOnce();
    good = good && sim.Verify();
  }
  if (!good)
    std::printf("seed %llu kill %llu: FAILED: %s\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(kill), sim.why().c_str());
  return good;
}

// How often the server may be killed in that history.
uint64_t Kills(uint64_t seed) {
  Simulation sim(OptionsFor(seed));
  if (!sim.Start()) return 0;
  const uint64_t first = sim.power().acts();
  while (sim.steps() < kSteps)
    if (!sim.StepOnce()) return 0;
  return sim.power().acts() - first;
}

struct Tally {
  uint64_t cuts = 0;
  uint64_t kills = 0;
  uint64_t failed = 0;
};

// One history with every end that it can have.
void RunHistory(uint64_t seed, Tally* tally) {
  const uint64_t before = tally->failed;
  uint64_t writes = 0;
  tally->failed += RunOnce(seed, ~uint64_t{0}, &writes) ? 0 : 1;
  for (uint64_t cut = 0; cut < writes && tally->failed < 10; ++cut, ++tally->cuts)
    tally->failed += RunOnce(seed, cut, nullptr) ? 0 : 1;
  const uint64_t most = Kills(seed);
  for (uint64_t kill = 0; kill < most && tally->failed < 10; ++kill, ++tally->kills)
    tally->failed += RunKilled(seed, kill) ? 0 : 1;
  if (tally->failed != before) KeepSeed("powercut", seed);
}

}  // namespace

int main() {
  const uint64_t only = FromEnv("ZUMASTOR_SEED", 0);
  const uint64_t histories = FromEnv("ZUMASTOR_HISTORIES", 6);
  const uint64_t one_cut = FromEnv("ZUMASTOR_CUT", ~uint64_t{0});
  const uint64_t one_kill = FromEnv("ZUMASTOR_KILL", ~uint64_t{0});
  const uint64_t one = only != 0 ? only : 1;
  if (one_cut != ~uint64_t{0}) return RunOnce(one, one_cut, nullptr) ? 0 : 1;
  if (one_kill != ~uint64_t{0}) return RunKilled(one, one_kill) ? 0 : 1;
  Tally tally;
  if (only != 0) {
    RunHistory(only, &tally);
  } else {
    for (const uint64_t kept : KeptSeeds("powercut")) RunHistory(kept, &tally);
    for (uint64_t seed = 1; seed <= histories; ++seed) RunHistory(seed, &tally);
  }
  std::printf(
      "power cuts: %llu, kills: %llu, %llu failed\n", static_cast<unsigned long long>(tally.cuts),
      static_cast<unsigned long long>(tally.kills), static_cast<unsigned long long>(tally.failed));
  std::printf(
      "resized: store larger %llu and smaller %llu, metadata %llu, origin %llu times\n",
      static_cast<unsigned long long>(g_resized[0]), static_cast<unsigned long long>(g_resized[1]),
      static_cast<unsigned long long>(g_resized[2]), static_cast<unsigned long long>(g_resized[3]));
  return tally.failed == 0 && tally.cuts > 0 && tally.kills > 0 ? 0 : 1;
}
