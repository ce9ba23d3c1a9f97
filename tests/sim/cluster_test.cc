// Whole clusters, simulated: the fixed seeds and some random ones, and that runs can be repeated.
#include "sim/cluster.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>

#include "sim/plan.h"
#include "sim/runner.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kFixedSeeds = 30;
constexpr uint64_t kRandomSeeds = 50;

void ExpectPass(uint64_t first, uint64_t count) {
  uint64_t next = first;
  RunMany(
      /*processes=*/2,
      [&]() -> std::optional<Plan> {
        if (next == first + count) return std::nullopt;
        return MakePlan(next++, {});
      },
      [](const RunResult& result) {
        EXPECT_EQ(result.outcome, Outcome::kOk)
            << "seed " << result.seed << ": " << result.message << "\n  replay: build/release/bin/"
            << ReplayCommand(result.seed, {});
        return true;
      });
}

TEST(SimClusterTest, FixedSeeds) { ExpectPass(1, kFixedSeeds); }

// A paused candidate hears of its votes when a leader of a later term has committed an entry: not a
// violation, but it was taken for one.
TEST(SimClusterTest, ALeaderOfAnEarlierTermComesLate) { ExpectPass(473261326, 1); }

TEST(SimClusterTest, RandomSeeds) { ExpectPass(std::random_device()(), kRandomSeeds); }

TEST(SimClusterTest, TheSameSeedDoesTheSame) {
  PlanLimits limits;
  limits.steps = 10000;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const RunResult first = RunApart(MakePlan(seed, limits), /*trace=*/false);
    const RunResult again = RunApart(MakePlan(seed, limits), /*trace=*/false);
    const RunResult other = RunApart(MakePlan(seed + 100, limits), /*trace=*/false);
    EXPECT_EQ(first.summary.disk_operations, again.summary.disk_operations) << "seed " << seed;
    EXPECT_EQ(first.summary.hash, again.summary.hash) << "seed " << seed;
    EXPECT_NE(first.summary.hash, other.summary.hash) << "seed " << seed;
  }
}

TEST(SimClusterTest, AFaultThatIsLeftOutLeavesTheOthersAsTheyAre) {
  PlanLimits limits;
  limits.without.insert(Fault::kPause);
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Plan whole = MakePlan(seed, {});
    Plan less = MakePlan(seed, limits);
    EXPECT_EQ(less.of(Fault::kPause), 0u);
    less.faults[static_cast<size_t>(Fault::kPause)] = whole.of(Fault::kPause);
    EXPECT_EQ(less.faults, whole.faults);
  }
}

}  // namespace
}  // namespace raftkv::sim
