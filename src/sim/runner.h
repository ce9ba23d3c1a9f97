// Runs seeds, each in a process of its own: from a fresh start, so that a seed always does the
// same, and so that one that crashes ends nothing else.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/cluster.h"
#include "sim/plan.h"

namespace raftkv::sim {

// Also the program's exit codes.
enum class Outcome : int { kOk = 0, kSafety = 10, kLiveness = 11, kCrash = 12 };

struct RunResult {
  uint64_t seed = 0;
  Outcome outcome = Outcome::kOk;
  std::string message;
  RunSummary summary;  // up to where it failed
};

// In this process. Ends it with a signal where the code under test does.
RunResult RunHere(const Plan& plan, bool trace);

// In a process of its own, which must have ended when it returns.
RunResult RunApart(const Plan& plan, bool trace);

// Many seeds, on so many processes at a time. `next` gives the next plan, or none; `done` gets each
// result, and says whether to go on.
void RunMany(size_t processes, const std::function<std::optional<Plan>()>& next,
             const std::function<bool(const RunResult&)>& done);

// A small change of a failing seed's plan that still fails in the same way: fewer faults, then
// fewer clients, then fewer steps. `run` tries one, and must give the same result for it every
// time: RunApart, but for tests.
PlanLimits Shrink(uint64_t seed, const PlanLimits& limits, Outcome outcome,
                  const std::function<RunResult(const Plan&)>& run);

// What the program is to be called with to run it again.
std::string ReplayArguments(uint64_t seed, const PlanLimits& limits);

}  // namespace raftkv::sim
