// Whole clusters, simulated: the fixed seeds and some random ones, and that runs can be repeated.
#include "sim/cluster.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <optional>
#include <random>
#include <string>

#include "sim/plan.h"
#include "sim/runner.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kFixedSeeds = 50;
constexpr uint64_t kRandomSeeds = 50;

RunSummary ExpectPass(uint64_t first, uint64_t count) {
  RunSummary all;
  uint64_t next = first;
  RunMany(
      /*processes=*/2,
      [&]() -> std::optional<Plan> {
        if (next == first + count) return std::nullopt;
        return MakePlan(next++, {});
      },
      [&all](const RunResult& result) {
        all.Add(result.summary);
        EXPECT_EQ(result.outcome, Outcome::kOk)
            << "seed " << result.seed << ": " << result.message
            << "\n  replay: build/release/bin/raftkv-sim " << ReplayArguments(result.seed, {});
        return true;
      });
  return all;
}

// That they pass proves something only if something happened.
TEST(SimClusterTest, FixedSeeds) {
  const RunSummary all = ExpectPass(1, kFixedSeeds);
  for (size_t i = 0; i < kFaultKinds; ++i) {
    EXPECT_GT(all.faults[i], 0u) << FaultName(static_cast<Fault>(i));
  }
  EXPECT_GT(all.healed, 0u);
  EXPECT_GT(all.snapshots, 0u);
  EXPECT_GT(all.configs, 0u);
  EXPECT_GT(all.hashes_compared, 0u);
}

TEST(SimClusterTest, RandomSeeds) {
  EXPECT_GT(ExpectPass(std::random_device()(), kRandomSeeds).acknowledged, 0u);
}

TEST(SimClusterTest, TheSameSeedDoesTheSame) {
  PlanLimits limits;
  limits.steps = 10000;
  // The last one depended on how much more memory than was asked for malloc gave to a memtable.
  for (const uint64_t seed : {1ull, 2ull, 3ull, 4ull, 5ull, 2612742995ull}) {
    const RunResult first = RunApart(MakePlan(seed, limits), /*trace=*/false);
    const RunResult again = RunApart(MakePlan(seed, limits), /*trace=*/false);
    const RunResult other = RunApart(MakePlan(seed + 100, limits), /*trace=*/false);
    EXPECT_EQ(first.summary.disk_operations, again.summary.disk_operations) << "seed " << seed;
    EXPECT_EQ(first.summary.hash, again.summary.hash) << "seed " << seed;
    EXPECT_NE(first.summary.hash, other.summary.hash) << "seed " << seed;
  }
}

TEST(SimClusterTest, AnArrayIsAsLargeAsWasAskedFor) {
  for (size_t bytes = 1; bytes < 10000; ++bytes) {
    const std::unique_ptr<char[]> array(new char[bytes]);
    ASSERT_EQ(malloc_usable_size(array.get()), bytes);
  }
}

TEST(SimClusterTest, AFaultThatIsLeftOutLeavesTheOthersAsTheyAre) {
  for (const Fault fault : {Fault::kPause, Fault::kMembership}) {
    PlanLimits limits;
    limits.without.insert(fault);
    for (uint64_t seed = 1; seed <= 50; ++seed) {
      const Plan whole = MakePlan(seed, {});
      Plan less = MakePlan(seed, limits);
      EXPECT_EQ(less.of(fault), 0u);
      less.faults[static_cast<size_t>(fault)] = whole.of(fault);
      EXPECT_EQ(less.faults, whole.faults);
    }
  }
}

// A failure that needs a partition, two clients, and 700 steps.
TEST(SimClusterTest, AFailureIsShrunkToWhatItNeeds) {
  const auto run = [](const Plan& plan) {
    RunResult result;
    const bool fails = plan.of(Fault::kPartition) > 0 && plan.clients >= 2 && plan.steps >= 700;
    if (fails) result.outcome = Outcome::kSafety;
    result.summary.steps = 700;
    return result;
  };
  uint64_t seed = 1;
  while (run(MakePlan(seed, {})).outcome == Outcome::kOk) ++seed;
  const PlanLimits small = Shrink(seed, {}, Outcome::kSafety, run);
  const Plan plan = MakePlan(seed, small);
  for (size_t i = 0; i < kFaultKinds; ++i) {
    const bool needed = static_cast<Fault>(i) == Fault::kPartition;
    EXPECT_EQ(plan.faults[i] > 0, needed) << FaultName(static_cast<Fault>(i));
  }
  EXPECT_EQ(plan.clients, 2u);
  EXPECT_EQ(plan.steps, 700u);
  EXPECT_NE(ReplayArguments(seed, small).find("--steps 700 --clients 2"), std::string::npos);
}

}  // namespace
}  // namespace raftkv::sim
