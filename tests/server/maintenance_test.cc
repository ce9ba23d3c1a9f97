// When a node flushes, cuts its log, and raises alarms; time is by hand.

#include "server/maintenance.h"

#include <gtest/gtest.h>

#include <vector>

namespace raftkv::server {
namespace {

using std::chrono::seconds;

TEST(MaintenancePlanTest, AFlushIsDuePastAnyLimit) {
  const FlushLimits limits{.entries_max = 10, .bytes_max = 1000, .apply_us_max = 500};
  EXPECT_FALSE(FlushIsDue(limits, Index(15), Index(5), {1000, 500}));
  EXPECT_TRUE(FlushIsDue(limits, Index(16), Index(5), {}));
  EXPECT_TRUE(FlushIsDue(limits, Index(6), Index(5), {.bytes = 1001}));
  EXPECT_TRUE(FlushIsDue(limits, Index(6), Index(5), {.apply_us = 501}));
  EXPECT_FALSE(FlushIsDue(limits, Index(5), Index(5), {1 << 20, 1 << 20})) << "nothing to flush";
}

TEST(MaintenancePlanTest, TheMeterNeverAnswersTooLittle) {
  ReplayMeter meter;
  meter.Sample(Index(0), 0);
  meter.Sample(Index(10), 100);
  meter.Sample(Index(20), 300);
  EXPECT_EQ(meter.After(Index(0)), 300u);
  EXPECT_EQ(meter.After(Index(9)), 300u);
  EXPECT_EQ(meter.After(Index(10)), 200u);
  EXPECT_EQ(meter.After(Index(15)), 200u);
  EXPECT_EQ(meter.After(Index(20)), 0u);
  meter.Sample(Index(20), 350);  // handed to apply, not applied yet
  EXPECT_EQ(meter.After(Index(20)), 0u);
}

TEST(MaintenancePlanTest, TheMeterNeverReachesBackTooLittle) {
  ReplayMeter meter;
  EXPECT_TRUE(meter.Back(0).none());
  meter.Sample(Index(10), 100);
  meter.Sample(Index(20), 300);
  meter.Sample(Index(30), 600);
  EXPECT_TRUE(meter.Back(501).none());
  EXPECT_EQ(meter.Back(500), Index(10));
  EXPECT_EQ(meter.Back(301), Index(10)) << "at 20 there are only 300 behind";
  EXPECT_EQ(meter.Back(300), Index(20));
  EXPECT_EQ(meter.Back(1), Index(20));
  meter.Sample(Index(40), 600);
  EXPECT_EQ(meter.Back(300), Index(20));
  EXPECT_EQ(meter.Back(0), Index(40));
}

TEST(MaintenancePlanTest, TheMeterIsBounded) {
  ReplayMeter meter;
  for (uint64_t i = 1; i <= 100'000; ++i) meter.Sample(Index(i), i * 10);
  EXPECT_GE(meter.After(Index(50'000)), 500'000u);
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

// A node made of numbers.
struct Fake {
  Index applied;
  Index durable;
  uint64_t bytes = 0;
  uint64_t apply_us = 0;
  Index first = Index(1);
  uint64_t free = 1 << 30;
  bool raised = false;
  bool hold = false;
  int flushes = 0;
  int log_flushes = 0;
  size_t cuts_at_log_flush = 0;
  std::vector<Index> cuts;
  std::vector<bool> changes;
  std::vector<Maintenance::Clock::time_point> steps;
  std::vector<UpkeepTask> took;

  MaintenanceHooks Hooks() {
    MaintenanceHooks hooks;
    hooks.applied = [this] { return applied; };
    hooks.durable_applied = [this]() -> StatusOr<Index> { return durable; };
    hooks.bytes_applied = [this] { return bytes; };
    hooks.apply_us = [this] { return apply_us; };
    hooks.log_first = [this] { return first; };
    hooks.flush = [this] {
      ++flushes;
      durable = applied;
      return Status::Ok();
    };
    hooks.flush_log = [this] {
      ++log_flushes;
      cuts_at_log_flush = cuts.size();
      return Status::Ok();
    };
    hooks.cut = [this](Index index) { cuts.push_back(index); };
    hooks.hold_cut = [this] { return hold; };
    hooks.free_bytes = [this]() -> StatusOr<uint64_t> { return free; };
    hooks.space_alarm_raised = [this] { return raised; };
    hooks.change_alarm = [this](bool raise) { changes.push_back(raise); };
    hooks.step = [this](Maintenance::Clock::time_point now) { steps.push_back(now); };
    hooks.took = [this](UpkeepTask task, double) { took.push_back(task); };
    return hooks;
  }
};

MaintenanceOptions Options() {
  MaintenanceOptions options;
  options.flush = {.entries_max = 100, .bytes_max = 1000, .apply_us_max = 500};
  options.log_tail_entries = 40;
  options.free_space_reserve_bytes = 1000;
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

TEST(MaintenanceTest, FlushesWhatTookLongToApply) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  const auto now = Maintenance::Clock::time_point{} + seconds(1000);
  maintenance.Step(now);
  node.applied = Index(10);
  node.apply_us = 500;
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 0);
  node.applied = Index(11);
  node.apply_us = 501;
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 1);
  node.applied = Index(20);
  node.apply_us = 1000;
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 1) << "only what came after the flush counts";
}

TEST(MaintenanceTest, KeepsFewerEntriesWhereTheyAreLarge) {
  Fake node;
  MaintenanceOptions options = Options();
  options.log_tail_bytes = 5000;
  Maintenance maintenance(options, node.Hooks());
  const auto now = Maintenance::Clock::time_point{} + seconds(1000);
  for (uint64_t i = 1; i <= 100; ++i) {  // 500 bytes each: ten of them, not forty, are kept
    node.applied = Index(i);
    node.bytes = 500 * i;
    maintenance.Step(now);
    if (!node.cuts.empty()) {
      EXPECT_EQ(node.cuts.back(), Index(i - 10));
    }
  }
  EXPECT_FALSE(node.cuts.empty());
}

TEST(MaintenanceTest, FlushesTheLogOnceAfterTheCutWasCarriedOut) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  const auto now = Maintenance::Clock::time_point{} + seconds(1000);
  node.applied = Index(101);
  maintenance.Step(now);
  EXPECT_EQ(node.flushes, 1);
  EXPECT_EQ(node.cuts.size(), 1u);
  EXPECT_EQ(node.log_flushes, 0) << "what the cut takes off would be written out";
  maintenance.Step(now);
  EXPECT_EQ(node.log_flushes, 1);
  EXPECT_EQ(node.cuts_at_log_flush, 1u);
  maintenance.Step(now);
  EXPECT_EQ(node.log_flushes, 1) << "no WAL was freed since";
  // RocksDB flushes kv by itself too, when its memtable is full.
  node.applied = Index(151);
  node.durable = Index(150);
  maintenance.Step(now);
  EXPECT_EQ(node.log_flushes, 1);
  maintenance.Step(now);
  EXPECT_EQ(node.log_flushes, 2);
  EXPECT_EQ(node.flushes, 1);
  EXPECT_EQ(maintenance.stats().log_flushes, 2u);
  EXPECT_EQ(node.took, (std::vector{UpkeepTask::kFlush, UpkeepTask::kSpace, UpkeepTask::kFlushLog,
                                    UpkeepTask::kFlushLog}));
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

TEST(MaintenanceTest, EveryStepIsPassedOn) {
  Fake node;
  Maintenance maintenance(Options(), node.Hooks());
  const auto now = Maintenance::Clock::time_point{} + seconds(1000);
  maintenance.Step(now);
  maintenance.Step(now + seconds(1));
  EXPECT_EQ(node.steps, (std::vector{now, now + seconds(1)}));
}

}  // namespace
}  // namespace raftkv::server
