// When a node flushes, cuts its log, and raises alarms; time is by hand.

#include "server/maintenance.h"

#include <gtest/gtest.h>

#include <vector>

namespace raftkv::server {
namespace {

using std::chrono::seconds;

TEST(MaintenancePlanTest, AFlushIsDuePastEitherLimit) {
  const FlushLimits limits{.entries_max = 10, .bytes_max = 1000};
  EXPECT_FALSE(FlushIsDue(limits, Index(15), Index(5), 1000));
  EXPECT_TRUE(FlushIsDue(limits, Index(16), Index(5), 0));
  EXPECT_TRUE(FlushIsDue(limits, Index(6), Index(5), 1001));
  EXPECT_FALSE(FlushIsDue(limits, Index(5), Index(5), 1 << 20)) << "there is nothing to flush";
}

TEST(MaintenancePlanTest, TheMeterNeverAnswersTooLittle) {
  ReplayMeter meter;
  meter.Sample(Index(0), 0);
  meter.Sample(Index(10), 100);
  meter.Sample(Index(20), 300);
  EXPECT_EQ(meter.BytesAfter(Index(0)), 300u);
  EXPECT_EQ(meter.BytesAfter(Index(9)), 300u);
  EXPECT_EQ(meter.BytesAfter(Index(10)), 200u);
  EXPECT_EQ(meter.BytesAfter(Index(15)), 200u);
  EXPECT_EQ(meter.BytesAfter(Index(20)), 0u);
  meter.Sample(Index(20), 350);  // handed to apply, not applied yet
  EXPECT_EQ(meter.BytesAfter(Index(20)), 0u);
}

TEST(MaintenancePlanTest, TheMeterIsBounded) {
  ReplayMeter meter;
  for (uint64_t i = 1; i <= 100'000; ++i) meter.Sample(Index(i), i * 10);
  EXPECT_GE(meter.BytesAfter(Index(50'000)), 500'000u);
}

TEST(MaintenancePlanTest, TheCutStaysBehindTheDurableState) {
  CutState state{.first = Index(1), .durable_applied = Index(100), .tail = 40, .step_min = 10};
  EXPECT_EQ(CutTarget(state), Index(60));
  state.step_max = 25;
  EXPECT_EQ(CutTarget(state), Index(25));
  state.first = Index(26);
  EXPECT_EQ(CutTarget(state), Index(50));
  state.first = Index(51);
  EXPECT_EQ(CutTarget(state), Index(60)) << "ten entries are worth a cut";
  state.first = Index(52);
  EXPECT_TRUE(CutTarget(state).none()) << "nine are not";
  state.first = Index(1);
  state.durable_applied = Index(40);
  EXPECT_TRUE(CutTarget(state).none());
  state.durable_applied = Index();
  EXPECT_TRUE(CutTarget(state).none());
}

TEST(MaintenancePlanTest, TheSpaceAlarmDoesNotFlap) {
  EXPECT_EQ(SpaceAlarmChange(false, 1000, 1000), std::nullopt);
  EXPECT_EQ(SpaceAlarmChange(false, 999, 1000), true);
  EXPECT_EQ(SpaceAlarmChange(true, 999, 1000), std::nullopt);
  EXPECT_EQ(SpaceAlarmChange(true, 1249, 1000), std::nullopt);
  EXPECT_EQ(SpaceAlarmChange(true, 1250, 1000), false);
}

TEST(MaintenancePlanTest, TheMajorityIsRightAndWithoutOneTheLeader) {
  using Hashes = std::map<NodeId, uint32_t>;
  const NodeId a(1), b(2), c(3), d(4);
  using Set = std::set<NodeId>;
  EXPECT_EQ(CorruptMembers(Hashes{{a, 7}, {b, 7}, {c, 7}}, a), Set{});
  EXPECT_EQ(CorruptMembers(Hashes{{a, 7}, {b, 8}, {c, 7}}, a), Set{b});
  EXPECT_EQ(CorruptMembers(Hashes{{a, 8}, {b, 7}, {c, 7}}, a), Set{a}) << "the leader itself";
  EXPECT_EQ(CorruptMembers(Hashes{{a, 7}, {b, 8}}, a), Set{b});
  EXPECT_EQ(CorruptMembers(Hashes{{a, 7}, {b, 8}, {c, 8}, {d, 7}}, a), (Set{b, c}));
  EXPECT_EQ(CorruptMembers(Hashes{{b, 8}}, a), Set{}) << "nothing is known of the leader";
}

// A node made of numbers.
struct Fake {
  Index applied;
  Index durable;
  uint64_t bytes = 0;
  Index first = Index(1);
  uint64_t free = 1 << 30;
  bool raised = false;
  bool leads = false;
  bool hold = false;
  int flushes = 0;
  int checks = 0;
  std::vector<Index> cuts;
  std::vector<bool> changes;

  MaintenanceHooks Hooks() {
    MaintenanceHooks hooks;
    hooks.applied = [this] { return applied; };
    hooks.durable_applied = [this]() -> StatusOr<Index> { return durable; };
    hooks.bytes_applied = [this] { return bytes; };
    hooks.log_first = [this] { return first; };
    hooks.flush = [this] {
      ++flushes;
      durable = applied;
      return Status::Ok();
    };
    hooks.cut = [this](Index index) { cuts.push_back(index); };
    hooks.hold_cut = [this] { return hold; };
    hooks.free_bytes = [this]() -> StatusOr<uint64_t> { return free; };
    hooks.space_alarm_raised = [this] { return raised; };
    hooks.change_alarm = [this](bool raise) { changes.push_back(raise); };
    hooks.leads = [this] { return leads; };
    hooks.check_replicas = [this] { ++checks; };
    hooks.refresh = [] {};
    return hooks;
  }
};

MaintenanceOptions Options() {
  MaintenanceOptions options;
  options.flush = {.entries_max = 100, .bytes_max = 1000};
  options.log_tail_entries = 40;
  options.free_space_reserve_bytes = 1000;
  options.replica_check_every = seconds(60);
  return options;
}

TEST(MaintenanceTest, FlushesByBytesAndCutsBehindTheFlush) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  auto now = Maintenance::Clock::time_point{} + seconds(1000);
  maintenance.Step(now);
  node.applied = Index(90);
  node.bytes = 900;
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 0);
  EXPECT_TRUE(node.cuts.empty()) << "nothing is durable yet";
  node.applied = Index(95);
  node.bytes = 1001;
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 1);
  EXPECT_EQ(node.cuts, std::vector<Index>{Index(55)});
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 1);
  EXPECT_EQ(node.cuts.size(), 1u) << "one that is on its way is not asked for again";
  EXPECT_EQ(maintenance.stats().flushes, 1u);
}

TEST(MaintenanceTest, CutsNothingThatASnapshotUnderWayNeeds) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  const auto now = Maintenance::Clock::time_point{} + seconds(1000);
  node.applied = node.durable = Index(500);
  node.hold = true;
  maintenance.Step(now);
  EXPECT_TRUE(node.cuts.empty());
  node.hold = false;
  maintenance.Step(now);
  EXPECT_EQ(node.cuts, std::vector<Index>{Index(460)});
}

TEST(MaintenanceTest, RaisesAndLowersItsSpaceAlarmOnceASecond) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  auto now = Maintenance::Clock::time_point{} + seconds(1000);
  maintenance.Step(now);
  EXPECT_TRUE(node.changes.empty());
  node.free = 999;
  maintenance.Step(now);
  EXPECT_TRUE(node.changes.empty()) << "it looked a moment ago";
  now += seconds(1);
  maintenance.Step(now);
  EXPECT_EQ(node.changes, std::vector<bool>{true});
  node.raised = true;
  node.free = 1100;
  now += seconds(1);
  maintenance.Step(now);
  EXPECT_EQ(node.changes.size(), 1u);
  node.free = 1300;
  now += seconds(1);
  maintenance.Step(now);
  EXPECT_EQ(node.changes, (std::vector<bool>{true, false}));
}

TEST(MaintenanceTest, OnlyALeaderComparesAndNotAtOnce) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  auto now = Maintenance::Clock::time_point{} + seconds(1000);
  maintenance.Step(now);
  now += seconds(120);
  maintenance.Step(now);
  EXPECT_EQ(node.checks, 0);
  node.leads = true;
  now += seconds(59);
  maintenance.Step(now);
  EXPECT_EQ(node.checks, 0);
  now += seconds(1);
  maintenance.Step(now);
  EXPECT_EQ(node.checks, 1);
  maintenance.Step(now);
  EXPECT_EQ(node.checks, 1);
}

}  // namespace
}  // namespace raftkv::server
