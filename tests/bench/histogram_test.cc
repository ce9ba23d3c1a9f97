#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/rng.h"

namespace raftkv::bench {
namespace {

// By sorting: the least value that a share `p` does not exceed.
uint32_t Exact(std::vector<uint32_t> values, double p) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

constexpr double kShares[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.99999, 1};

void ExpectNearExact(const std::vector<uint32_t>& values) {
  Histogram histogram;
  for (const uint32_t value : values) histogram.Add(value);
  ASSERT_EQ(histogram.count(), values.size());
  for (const double p : kShares) {
    const uint32_t exact = Exact(values, p);
    EXPECT_GE(histogram.Percentile(p), exact) << p;
    EXPECT_LE(histogram.Percentile(p), exact * 1.01) << p;
  }
}

TEST(HistogramTest, OfNothingIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.Percentile(0.5), 0U);
  EXPECT_EQ(histogram.min(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_TRUE(histogram.buckets().empty());
}

TEST(HistogramTest, SmallValuesAreExact) {
  std::vector<uint32_t> values;
  Histogram histogram;
  Rng rng(1);
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<uint32_t>(rng.Below(256)));
    histogram.Add(values.back());
  }
  for (const double p : kShares) EXPECT_EQ(histogram.Percentile(p), Exact(values, p)) << p;
}

TEST(HistogramTest, PercentilesOfEverySizeOfValueAreWithinOnePercent) {
  Rng rng(2);
  for (int bits = 1; bits <= 32; ++bits) {
    std::vector<uint32_t> values;
    for (int i = 0; i < 2000; ++i) {
      values.push_back(static_cast<uint32_t>(rng.Next() >> (64 - bits)));
    }
    ExpectNearExact(values);
  }
}

TEST(HistogramTest, PercentilesOfALongTailAreWithinOnePercent) {
  Rng rng(3);
  std::vector<uint32_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<uint32_t>(300 + rng.Below(900)));
    if (rng.Below(50) == 0) values.back() *= static_cast<uint32_t>(rng.Between(2, 5000));
  }
  ExpectNearExact(values);
}

TEST(HistogramTest, BucketsHoldTheirValuesAndFollowEachOther) {
  Histogram histogram;
  for (uint64_t value = 0; value <= UINT32_MAX; value += 1 + value / 256) {
    histogram.Add(static_cast<uint32_t>(value));
  }
  histogram.Add(UINT32_MAX);
  const auto buckets = histogram.buckets();
  uint64_t next = 0;
  for (const auto& bucket : buckets) {
    ASSERT_EQ(bucket.low, next);  // no value is skipped, and none is in two
    ASSERT_LE(bucket.high - bucket.low, bucket.low / 100);
    next = uint64_t{bucket.high} + 1;
  }
  EXPECT_EQ(next, uint64_t{UINT32_MAX} + 1);
}

TEST(HistogramTest, MeanMinMaxAreExactAndClearForgets) {
  Histogram histogram;
  for (const uint32_t value : {1000U, 3001U, 100'003U}) histogram.Add(value);
  EXPECT_EQ(histogram.min(), 1000U);
  EXPECT_EQ(histogram.max(), 100'003U);
  EXPECT_DOUBLE_EQ(histogram.mean(), 104'004.0 / 3);
  EXPECT_EQ(histogram.Percentile(1), 100'003U);
  histogram.Clear();
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.Percentile(1), 0U);
  histogram.Add(7);
  EXPECT_EQ(histogram.min(), 7U);
  EXPECT_EQ(histogram.max(), 7U);
}

}  // namespace
}  // namespace raftkv::bench
