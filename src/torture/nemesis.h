// Breaks things, one fault after the other, as the seed says.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/rng.h"
#include "torture/cluster.h"
#include "torture/options.h"
#include "torture/recorder.h"

namespace raftkv::torture {

// On the thread that made the cluster.
class Nemesis {
 public:
  // `say`: a line for people.
  Nemesis(const Options& options, Cluster* cluster, Recorder* recorder,
          std::function<void(const std::string&)> say);

  // One fault and a calm time after it; not beyond `deadline`. An error when a node ended by
  // itself.
  Status Round(std::chrono::steady_clock::time_point deadline);

  const std::vector<FaultSpan>& faults() const { return faults_; }
  const PowerCut& power() const { return power_; }

 private:
  Fault Choose();
  // Begins a fault; says what it is in `span`.
  Status Begin(Fault fault, FaultSpan* span);
  Status BeginCut(FaultSpan* span);
  Status BeginDelay(FaultSpan* span);
  Status BeginPower(const std::vector<int>& nodes);
  // One node, a majority or all, in a random order.
  std::vector<int> SomeNodes(bool all_too);
  std::string Names(const std::vector<int>& nodes) const;
  // Waits, and watches that nodes live.
  Status Wait(std::chrono::milliseconds time, std::chrono::steady_clock::time_point deadline);
  void WaitUntilServed(FaultSpan* span, std::chrono::steady_clock::time_point deadline);

  const Options options_;
  Cluster* const cluster_;
  Recorder* const recorder_;
  const std::function<void(const std::string&)> say_;
  Rng rng_;
  std::vector<Fault> bag_;  // every kind comes up once before one comes again
  bool first_bag_ = true;
  std::vector<FaultSpan> faults_;
  PowerCut power_;
};

}  // namespace raftkv::torture
