#include "bench/generators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace raftkv::bench {
namespace {

TEST(KeyOfTest, KeysSortAsNumbers) {
  EXPECT_EQ(KeyOf(0), "00000000");
  EXPECT_EQ(KeyOf(0xabc), "00000abc");
  EXPECT_EQ(KeyOf(0xffffffff), "ffffffff");
  EXPECT_LT(KeyOf(0x9fff), KeyOf(0xa000));
}

TEST(ScatterTest, IsABijectionThatPartsNeighbours) {
  for (const uint64_t count : {1, 2, 3, 10, 1000, 4096, 99'991}) {
    const Scatter scatter(count);
    std::vector<bool> seen(count);
    for (uint64_t n = 0; n < count; ++n) {
      const uint64_t at = scatter.At(n);
      ASSERT_LT(at, count);
      ASSERT_FALSE(seen[at]) << count;
      seen[at] = true;
    }
  }
  const Scatter scatter(100'000);
  for (uint64_t n = 0; n < 1000; ++n) {
    const auto a = static_cast<int64_t>(scatter.At(n));
    const auto b = static_cast<int64_t>(scatter.At(n + 1));
    ASSERT_GT(std::abs(a - b), 10'000);
  }
}

TEST(LoadOrderTest, TakesEachKeyOnce) {
  LoadOrder order(5000);
  std::set<uint64_t> seen;
  while (!order.done()) ASSERT_TRUE(seen.insert(order.Take()).second);
  EXPECT_EQ(seen.size(), 5000U);
  EXPECT_EQ(*seen.rbegin(), 4999U);
}

TEST(ZipfTest, ZetaIsTheSumOfItsTerms) {
  for (const double theta : {0.3, 0.99}) {
    double sum = 0;
    for (uint64_t i = 1; i <= 1'000'000; ++i) {
      sum += std::pow(static_cast<double>(i), -theta);
      if (i == 5 || i == 10'000 || i == 10'001 || i == 1'000'000) {
        EXPECT_NEAR(Zipf::Zeta(i, theta), sum, sum * 1e-9) << i << " " << theta;
      }
    }
  }
}

// The share of draws whose rank is below each power of ten, against the sum of their probabilities.
TEST(ZipfTest, RanksHaveTheirProbabilities) {
  constexpr uint64_t kCount = 100'000;
  constexpr int kDraws = 1'000'000;
  const Zipf zipf(kCount, 0.99);
  Rng rng(4);
  std::vector<int> counts(kCount);
  for (int i = 0; i < kDraws; ++i) ++counts.at(zipf.Next(&rng));
  const double zeta = Zipf::Zeta(kCount, 0.99);
  const auto share = [&](uint64_t rank) { return static_cast<double>(counts[rank]) / kDraws; };
  // The first two are exact but for the draw: five times its standard deviation.
  EXPECT_NEAR(share(0), 1 / zeta, 5 * std::sqrt(1 / zeta / kDraws));
  EXPECT_NEAR(share(1), std::pow(2, -0.99) / zeta, 5 * std::sqrt(1 / zeta / kDraws));
  uint64_t below = 0;
  uint64_t rank = 0;
  for (const uint64_t bound : {10, 100, 1000, 10'000}) {
    for (; rank < bound; ++rank) below += static_cast<uint64_t>(counts[rank]);
    const double expected = Zipf::Zeta(bound, 0.99) / zeta;
    EXPECT_NEAR(static_cast<double>(below) / kDraws, expected, 0.02) << bound;
  }
  EXPECT_TRUE(std::any_of(counts.end() - 1000, counts.end(), [](int n) { return n > 0; }));
}

TEST(ZipfTest, FewKeysStayInRange) {
  Rng rng(5);
  for (const uint64_t count : {1, 2, 3, 4}) {
    const Zipf zipf(count, 0.99);
    std::set<uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(zipf.Next(&rng));
    EXPECT_EQ(seen.size(), count);
    EXPECT_EQ(*seen.rbegin(), count - 1);
  }
}

TEST(KeyChooserTest, SequentialGoesRound) {
  KeyChooser keys(Distribution::kSequential, 3, 0.99, 1);
  std::vector<uint64_t> taken;
  for (int i = 0; i < 7; ++i) taken.push_back(keys.Next());
  EXPECT_EQ(taken, (std::vector<uint64_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(KeyChooserTest, UniformTakesAllAlike) {
  KeyChooser keys(Distribution::kUniform, 100, 0.99, 1);
  std::map<uint64_t, int> counts;
  for (int i = 0; i < 100'000; ++i) ++counts[keys.Next()];
  ASSERT_EQ(counts.size(), 100U);
  for (const auto& [key, count] : counts) {
    EXPECT_LT(key, 100U);
    EXPECT_NEAR(count, 1000, 160);  // five standard deviations
  }
}

TEST(KeyChooserTest, ZipfScattersThePopularKeys) {
  KeyChooser keys(Distribution::kZipf, 100'000, 0.99, 1);
  std::map<uint64_t, int> counts;
  for (int i = 0; i < 100'000; ++i) ++counts[keys.Next()];
  const Scatter scatter(100'000);
  for (const auto& [key, count] : counts) EXPECT_LE(count, counts[scatter.At(0)]);
  EXPECT_GT(counts[scatter.At(0)], counts[scatter.At(1)]);
  EXPECT_GT(counts[scatter.At(1)], counts[scatter.At(20)]);
}

TEST(KeyChooserTest, TheSeedSaysWhich) {
  for (const Distribution distribution : {Distribution::kUniform, Distribution::kZipf}) {
    KeyChooser a(distribution, 100'000, 0.99, 1);
    KeyChooser b(distribution, 100'000, 0.99, 1);
    KeyChooser c(distribution, 100'000, 0.99, 2);
    int differ = 0;
    for (int i = 0; i < 100; ++i) {
      const uint64_t key = a.Next();
      EXPECT_EQ(key, b.Next());
      if (key != c.Next()) ++differ;
    }
    EXPECT_GT(differ, 50);
  }
}

TEST(ValuesTest, OneLetterOrBytesThatDiffer) {
  Values plain(5, false, 1);
  EXPECT_EQ(plain.Next(), "vvvvv");
  EXPECT_EQ(plain.Next(), "vvvvv");
  Values empty(0, true, 1);
  EXPECT_EQ(empty.Next(), "");
  for (const size_t size : {size_t{7}, size_t{4096}, size_t{5} << 20}) {
    Values random(size, true, 1);
    Values again(size, true, 1);
    const std::string first(random.Next());
    EXPECT_EQ(first.size(), size);
    EXPECT_EQ(again.Next(), first);
    // One that is as large as the whole source is the same each time.
    EXPECT_EQ(random.Next() == first, size >= (size_t{4} << 20));
  }
}

TEST(ValuesTest, RandomBytesAreAllAlike) {
  Values random(1 << 20, true, 6);
  std::vector<int> counts(256);
  for (const char byte : random.Next()) ++counts[static_cast<uint8_t>(byte)];
  for (const int count : counts) EXPECT_NEAR(count, 4096, 320);  // five standard deviations
}

}  // namespace
}  // namespace raftkv::bench
