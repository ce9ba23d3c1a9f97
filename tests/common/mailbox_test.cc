#include "common/mailbox.h"

#include <thread>

#include <gtest/gtest.h>

namespace raftkv {
namespace {

TEST(Mailbox, RefusesWhenFullButTakesCompletions) {
  Mailbox<int> mailbox(2);
  EXPECT_TRUE(mailbox.TryPush(1));
  EXPECT_TRUE(mailbox.TryPush(2));
  EXPECT_FALSE(mailbox.TryPush(3));
  EXPECT_TRUE(mailbox.Push(4));
  std::vector<int> out;
  ASSERT_TRUE(mailbox.Drain(&out));
  EXPECT_EQ(out, (std::vector<int>{1, 2, 4}));
  EXPECT_TRUE(mailbox.TryPush(5));
}

TEST(Mailbox, DrainReturnsAtTheDeadline) {
  Mailbox<int> mailbox(1);
  std::vector<int> out;
  EXPECT_TRUE(mailbox.Drain(&out, std::chrono::steady_clock::now()));
  EXPECT_TRUE(out.empty());
}

TEST(Mailbox, ClosedIsDrainedThenEnds) {
  Mailbox<int> mailbox(4);
  EXPECT_TRUE(mailbox.Push(1));
  mailbox.Close();
  EXPECT_FALSE(mailbox.Push(2));
  std::vector<int> out;
  EXPECT_TRUE(mailbox.Drain(&out));
  EXPECT_EQ(out, std::vector<int>{1});
  EXPECT_FALSE(mailbox.Drain(&out));
}

TEST(Mailbox, EveryItemOfEveryProducerArrivesOnceInItsOrder) {
  constexpr int kProducers = 4;
  constexpr int kItems = 5000;
  Mailbox<std::pair<int, int>> mailbox(1u << 20);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&mailbox, p] {
      for (int i = 0; i < kItems; ++i) mailbox.Push({p, i});
    });
  }
  std::vector<int> next(kProducers, 0);
  int total = 0;
  std::vector<std::pair<int, int>> out;
  while (total < kProducers * kItems && mailbox.Drain(&out)) {
    for (auto [p, i] : out) EXPECT_EQ(i, next[p]++);
    total += static_cast<int>(out.size());
  }
  for (auto& t : producers) t.join();
  EXPECT_EQ(total, kProducers * kItems);
}

}  // namespace
}  // namespace raftkv
