#include "bench/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "bench/result.h"

namespace raftkv::bench {
namespace {

using std::chrono::milliseconds;

const Clock::time_point kBegin{std::chrono::hours(1)};

std::vector<Clock::time_point> TakeAll(Schedule* schedule, Clock::time_point now) {
  std::vector<Clock::time_point> starts;
  Clock::time_point start;
  while (schedule->TakeDue(now, &start)) starts.push_back(start);
  return starts;
}

TEST(ScheduleTest, FixedSpacing) {
  Schedule schedule(1000, Spacing::kFixed, 1, kBegin);
  EXPECT_EQ(TakeAll(&schedule, kBegin), (std::vector{kBegin}));
  EXPECT_TRUE(TakeAll(&schedule, kBegin + std::chrono::microseconds(999)).empty());
  EXPECT_EQ(schedule.next(), kBegin + milliseconds(1));
  EXPECT_EQ(TakeAll(&schedule, kBegin + milliseconds(1)), (std::vector{kBegin + milliseconds(1)}));
}

TEST(ScheduleTest, WhatFellDueDuringAStallKeepsItsStart) {
  Schedule schedule(1000, Spacing::kFixed, 1, kBegin);
  const auto starts = TakeAll(&schedule, kBegin + milliseconds(500));
  ASSERT_EQ(starts.size(), 501U);
  for (int i = 0; i < 501; ++i) EXPECT_EQ(starts[i], kBegin + milliseconds(i));
}

TEST(ScheduleTest, FixedSpacingDoesNotDrift) {
  Schedule schedule(3000, Spacing::kFixed, 1, kBegin);  // a third of a millisecond is no number
  const auto end = kBegin + std::chrono::minutes(10) - std::chrono::microseconds(1);
  EXPECT_EQ(TakeAll(&schedule, end).size(), 3000U * 600);
}

TEST(ScheduleTest, PoissonHasTheRateAndItsSpread) {
  Schedule schedule(10'000, Spacing::kPoisson, 7, kBegin);
  const auto starts = TakeAll(&schedule, kBegin + std::chrono::seconds(20));
  // The number in a stretch has the variance of its mean: five standard deviations.
  EXPECT_NEAR(static_cast<double>(starts.size()), 200'000, 5 * std::sqrt(200'000));
  // Times between are exponential: 1/e of them exceed the mean, 1/e^3 three times that.
  int over_mean = 0;
  int over_three = 0;
  for (size_t i = 1; i < starts.size(); ++i) {
    const auto between = starts[i] - starts[i - 1];
    ASSERT_GE(between, Clock::duration::zero());
    if (between > std::chrono::microseconds(100)) ++over_mean;
    if (between > std::chrono::microseconds(300)) ++over_three;
  }
  const auto n = static_cast<double>(starts.size());
  EXPECT_NEAR(over_mean / n, std::exp(-1), 0.01);
  EXPECT_NEAR(over_three / n, std::exp(-3), 0.005);
}

TEST(ScheduleTest, TheSeedSaysWhen) {
  Schedule a(1000, Spacing::kPoisson, 1, kBegin);
  Schedule b(1000, Spacing::kPoisson, 1, kBegin);
  Schedule c(1000, Spacing::kPoisson, 2, kBegin);
  const auto starts = TakeAll(&a, kBegin + milliseconds(100));
  EXPECT_EQ(TakeAll(&b, kBegin + milliseconds(100)), starts);
  EXPECT_NE(TakeAll(&c, kBegin + milliseconds(100)), starts);
}

TEST(ResultTest, CountsLatenciesGapsAndFailures) {
  Result result;
  result.Begin(kBegin, kBegin);
  result.Answered(kBegin, kBegin + milliseconds(3), true);
  result.Answered(kBegin + milliseconds(2), kBegin + milliseconds(13), false);
  result.Failed("UNAVAILABLE", "the first");
  result.Failed("UNAVAILABLE", "the second");
  result.Failed("RESOURCE_EXHAUSTED", "the third");
  result.Unstarted();
  result.End(kBegin + milliseconds(20));
  EXPECT_EQ(result.latencies_us().count(), 2U);
  EXPECT_EQ(result.latencies_us().max(), 11'000U);
  EXPECT_EQ(result.gap_us(), 10'000U);
  EXPECT_EQ(result.found(), 1U);
  EXPECT_DOUBLE_EQ(result.seconds(), 0.02);
  EXPECT_DOUBLE_EQ(result.rate(), 100);
  EXPECT_EQ(result.failures(), 3U);
  EXPECT_EQ(result.first_failure(), "the first");
  EXPECT_EQ(result.failures_by_code(),
            (std::map<std::string, uint64_t>{{"UNAVAILABLE", 2}, {"RESOURCE_EXHAUSTED", 1}}));
  EXPECT_EQ(result.unstarted(), 1U);
  result.Begin(kBegin, kBegin);
  EXPECT_EQ(result.failures() + result.unstarted() + result.found(), 0U);
  EXPECT_TRUE(result.failures_by_code().empty());
}

TEST(ResultTest, AGapSpansStretchesAndLastsUntilTheEnd) {
  Result result;
  result.Begin(kBegin + milliseconds(100), kBegin + milliseconds(60));
  result.Answered(kBegin, kBegin + milliseconds(110), false);
  EXPECT_EQ(result.gap_us(), 50'000U);
  result.End(kBegin + milliseconds(500));
  EXPECT_EQ(result.gap_us(), 390'000U);
}

}  // namespace
}  // namespace raftkv::bench
