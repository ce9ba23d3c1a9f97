// Thousands of short runs under random faults. A failure prints the command that repeats it.
//
//   RAFTKV_SEED=n   the first seed (default 1; each test takes its own seeds from it)
//   RAFTKV_RUNS=n   runs a test (default 2000; fewer of one node)
//   RAFTKV_TRACE=1  prints every event
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

#include "raft/random_run.h"

namespace raftkv::raft {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

// The core aborts when it finds its own invariants broken: say which run that was.
char current_run[256];

void OnAbort(int) {
  [[maybe_unused]] const ssize_t ignored =
      write(STDERR_FILENO, current_run, std::strlen(current_run));
}

void RunMany(const std::string& test, size_t voters, uint64_t runs_default = 2000,
             size_t spares = 0, bool lossy = false) {
  std::signal(SIGABRT, OnAbort);
  const uint64_t first = FromEnvironment("RAFTKV_SEED", 1);
  const uint64_t runs = FromEnvironment("RAFTKV_RUNS", runs_default);
  const bool trace = FromEnvironment("RAFTKV_TRACE", 0) != 0;
  RunSummary summary;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    const std::string replay =
        "replay: RAFTKV_SEED=" + std::to_string(seed) +
        " RAFTKV_RUNS=1 RAFTKV_TRACE=1 raft_random_test --gtest_filter=" + test + "\n";
    std::strncpy(current_run, replay.c_str(), sizeof(current_run) - 1);
    try {
      summary.Add(RandomRun(seed, voters, spares, lossy, trace).Run());
    } catch (const SafetyViolation& violation) {
      FAIL() << violation.what() << "\n" << replay;
    }
  }
  std::cout << runs << " runs from seed " << first << ": " << summary.leaders << " leaders, "
            << summary.proposed << " proposals, " << summary.committed << " committed, "
            << summary.dropped << " dropped, " << summary.reads_served << " reads, "
            << summary.crashes << " crashes, " << summary.losses << " losses, " << summary.cuts
            << " cuts, " << summary.snapshots << " snapshots installed, " << summary.configs
            << " configurations committed, " << summary.configs_overwritten << " overwritten\n";
  if (runs < 100) return;
  // A test in which nothing happens proves nothing.
  EXPECT_GT(summary.leaders, 2 * runs);
  EXPECT_GT(summary.committed, 15 * runs);
  EXPECT_GT(summary.reads_served, 10 * runs);
  EXPECT_GT(summary.crashes, 5 * runs);
  EXPECT_GT(summary.cuts, 10 * runs);
  EXPECT_GE(summary.snapshots, voters > 1 ? runs / 10 : 0);
  EXPECT_GE(summary.losses, lossy ? runs : 0);
  if (spares > 0) {
    EXPECT_GT(summary.configs, runs);
    EXPECT_GT(summary.configs_overwritten, runs / 20);
  }
  EXPECT_GE(summary.dropped, voters > 1 ? runs / 5 : 0);
}

TEST(RandomTest, OneNode) { RunMany("RandomTest.OneNode", 1, 100); }
TEST(RandomTest, ThreeNodes) { RunMany("RandomTest.ThreeNodes", 3); }
TEST(RandomTest, FourNodes) { RunMany("RandomTest.FourNodes", 4); }
TEST(RandomTest, FiveNodes) { RunMany("RandomTest.FiveNodes", 5); }
TEST(RandomTest, OneGrows) { RunMany("RandomTest.OneGrows", 1, 1000, 3); }
TEST(RandomTest, ThreeNodesLoseEntries) {
  RunMany("RandomTest.ThreeNodesLoseEntries", 3, 2000, 0, /*lossy=*/true);
}
TEST(RandomTest, FiveNodesLoseEntries) {
  RunMany("RandomTest.FiveNodesLoseEntries", 5, 1000, 0, /*lossy=*/true);
}
TEST(RandomTest, ThreeChange) { RunMany("RandomTest.ThreeChange", 3, 2000, 3); }

}  // namespace
}  // namespace raftkv::raft
