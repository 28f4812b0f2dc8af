// SPDX-License-Identifier: GPL-2.0
// A machine in miniature: an origin and a store with volatile caches, a kernel that
// keeps the protocol of dm-ddsnap.h, the real engine as its server, and a plain
// model of what every snapshot has to hold.
#ifndef DDSNAP_TESTS_CRASH_SIMULATION_H_
#define DDSNAP_TESTS_CRASH_SIMULATION_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "../lib/fault_device.h"
#include "store/snapstore.h"

namespace ddsnap {

class Simulation {
 public:
  struct Options {
    uint64_t seed = 1;
    uint32_t chunk_size = 4096;
    uint64_t origin_chunks = 96;
    uint64_t store_bytes = 4 << 20;
    uint64_t meta_bytes = 0;  // 0: no metadata device
    uint64_t journal_bytes = 64 * 4096;
    size_t max_snapshots = 12;
    // How far store and metadata device may grow, times their first size.
    uint64_t growth = 3;
  };

  explicit Simulation(const Options& options);

  // Formats the store; false with why() set if that fails.
  bool Start();
  // One random step.  false: the power went, or something is wrong (why()).
  bool StepOnce();
  // After the power went: what survived, recovery, and comparison.
  bool RecoverFromPowerCut();
  // After the server was killed in the midst of something: starts it again and
  // takes what it finds for committed: it may tell anybody.
  bool RecoverFromKill();
  // The kernel links to a server that has started.
  bool Relink();
  // Kills the server and starts it again; the kernel goes on.
  bool RestartServer();
  // Compares every snapshot with the model.
  bool Verify();
  // Turns all snapshots into bookmarks, and goes on; in the end deletes them: nothing may be left.
  bool End();

  [[nodiscard]] PowerSwitch& power() { return power_; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] uint64_t steps() const { return steps_; }
  // Changes of size that went through: store larger and smaller, metadata, origin.
  [[nodiscard]] const std::array<uint64_t, 4>& resized() const { return resized_; }

 private:
  using Contents = std::vector<uint64_t>;  // by chunk
  struct ModelSnapshot {
    Tag tag = 0;
    bool ok = true;
    bool mark = false;  // a bookmark: what it held when it became one, as far as the origin reaches
    int8_t priority = 0;
    Contents contents;
    bool operator==(const ModelSnapshot&) const = default;
  };
  using Model = std::map<Epoch, ModelSnapshot>;
  struct Report {  // copied, not acknowledged
    Epoch snapshot = 0;
    uint64_t chunk = 0;
    uint64_t address = 0;
    uint64_t value = 0;  // what to write when it is acknowledged (origin: released)
  };

  bool Bad(const std::string& why);
  bool Check(const Status& s, const char* what);
  bool OpenStore();
  bool WriteOrigin();
  bool WriteOriginAt(uint64_t chunk, uint64_t value);
  bool WriteSnapshot();
  bool CreateSnapshot();
  bool DeleteSnapshot();
  bool GiveUpSnapshot();
  bool BookmarkSnapshot();
  bool Drain();
  bool ChangePriority();
  bool CommitAll();
  bool Background();
  bool ChangeSize();
  bool ResizeStore(uint64_t store_bytes, uint64_t meta_bytes, size_t kind);
  bool GrowOrigin();
  bool ShrinkOrigin();
  bool ToggleRevert();
  bool AdoptRecovered(const char* after);
  bool NeedGrant();
  bool MakeSpace();
  void ReleaseAllGivenUp();
  bool ReadChunk(BlockDevice& device, uint64_t index, uint64_t* value);
  bool WriteChunk(BlockDevice& device, uint64_t index, uint64_t value);
  bool FlushDevice(BlockDevice& device);
  std::optional<Epoch> PickSnapshot();
  bool ContentsOf(Epoch snapshot, Contents* out);
  bool AdoptTorn();
  bool CheckSound();
  bool TellsChanges(Epoch mark, const ModelSnapshot& was, const Model& model, std::string* why);
  bool Matches(const Model& model, Epoch reverting, std::string* why);
  uint64_t Random(uint64_t below) { return random_() % below; }

  const Options options_;
  std::mt19937_64 random_;
  PowerSwitch power_;
  FaultDevice origin_;
  FaultDevice store_device_;
  std::unique_ptr<FaultDevice> meta_;
  std::unique_ptr<SnapStore> store_;
  Uuid boot_id_{};
  std::string why_;
  uint64_t steps_ = 0;
  uint64_t next_value_ = 1;
  std::optional<std::pair<Epoch, uint64_t>> torn_;  // written in place when the power went

  // the kernel
  std::vector<bool> copied_;
  std::deque<uint64_t> granted_;
  std::vector<Report> reports_;
  bool flush_needed_ = false;
  uint64_t fixed_chunks_ = 0;  // that the empty store uses
  uint64_t kernel_live_ = 0;   // as it was told: after a commit

  // the model
  Contents origin_now_;     // released; of the largest origin
  uint64_t origin_chunks_;  // of the present one
  Model staged_;
  Model committed_;
  Epoch staged_reverting_ = 0;
  Epoch committed_reverting_ = 0;
  std::array<uint64_t, 4> resized_{};
};

}  // namespace ddsnap

#endif  // DDSNAP_TESTS_CRASH_SIMULATION_H_
