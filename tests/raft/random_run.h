// One run of a cluster under random faults, all of it decided by a seed.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/rng.h"
#include "raft/safety_checker.h"
#include "raft/sim_node.h"

namespace raftkv::raft {

// What came of a run, to show that runs do something.
struct RunSummary {
  size_t leaders = 0;
  size_t proposed = 0;
  size_t committed = 0;
  size_t dropped = 0;
  size_t reads_served = 0;
  size_t crashes = 0;
  size_t losses = 0;
  size_t cuts = 0;
  size_t snapshots = 0;  // installed
  size_t configs = 0;    // committed
  size_t configs_overwritten = 0;

  void Add(const RunSummary& other);
};

class RandomRun {
 public:
  // `spares`: so many nodes besides that are in no configuration at first; without them it never
  // changes. `lossy`: a crash may take away what was acknowledged, of one node at a time. `trace`:
  // prints every event to stderr.
  RandomRun(uint64_t seed, size_t voters, size_t spares, bool lossy, bool trace);

  // Throws SafetyViolation (and aborts on a failed check) if a promise is broken, or if the cluster
  // does not converge once the faults have stopped.
  RunSummary Run();

 private:
  // How rough this run is; in percent.
  struct Weather {
    uint64_t drop = 0;
    uint64_t duplicate = 0;
    uint64_t reorder = 0;
    uint64_t hold = 0;          // messages that arrive much later
    uint64_t starve = 0;        // appends lost besides
    uint64_t delay_output = 0;  // inputs after which the output is left for later
    uint64_t crash = 0;         // weights, like those of the other actions
    uint64_t partition = 0;
    uint64_t upheaval = 0;
    uint64_t cut = 0;
    uint64_t config = 0;
    uint64_t lose = 0;  // crashes after which acknowledged entries are gone
  };

  void ChooseWeather();
  Options ChooseOptions();

  void Act();
  void ActOnNetwork();
  void ActOnNode(SimNode& node);
  void Propose(SimNode& node);
  void Read(SimNode& node);
  void CrashOrStart(SimNode& node);
  void ChangePartition();
  void Upheaval(SimNode& node);
  void CutLog(SimNode& node);
  void ChangeConfig(SimNode& node);
  void ChangeOneMember(Membership* membership);
  void SendSnapshot(SimNode& node, NodeId to);
  void TellSnapshotSent(const Message& message, bool delivered);

  void AfterInput(SimNode& node);
  void Collect(SimNode& node);
  void SyncOne(SimNode& node);
  void ApplyOne(SimNode& node);
  void LoseEntries(SimNode& node);
  void Start(SimNode& node);
  void Post(const SimNode& node, const std::vector<Message>& messages);
  void Deliver(Message message);
  void ReleaseHeld();

  // The faults have stopped: everyone must come to agree within a bounded time.
  void Converge();
  void Settle();
  bool HasConverged() const;
  SimNode* Leader() const;

  void Trace(const std::string& event) const;

  Rng rng_;
  const bool trace_;
  Weather weather_;
  Options options_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<Index> flushed_;  // the state machines' durable positions, by node
  std::unique_ptr<SafetyChecker> checker_;
  std::vector<Message> network_;
  std::vector<Message> held_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  bool calm_ = false;
  uint64_t last_payload_ = 0;
  uint64_t last_snapshot_ = 0;
  size_t crashes_ = 0;
  size_t losses_ = 0;
  size_t cuts_ = 0;
};

}  // namespace raftkv::raft
