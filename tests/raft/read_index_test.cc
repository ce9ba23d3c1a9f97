#include "raft/read_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Read = LeaderReads::Read;

TEST(LeaderReadsTest, OneRoundServesAllThatCameBefore) {
  LeaderReads reads;
  EXPECT_FALSE(reads.WantsRound());
  const Read a{NodeId(1), 1}, b{NodeId(2), 9};
  reads.Add(a);
  reads.Add(b);
  EXPECT_TRUE(reads.WantsRound());
  reads.StartRound(Index(5));
  EXPECT_EQ(reads.round(), 1u);
  EXPECT_FALSE(reads.WantsRound());

  const auto confirmed = reads.Confirm(1);
  ASSERT_TRUE(confirmed.has_value());
  EXPECT_EQ(confirmed->index, Index(5));
  EXPECT_THAT(confirmed->reads, ElementsAre(a, b));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(reads.Confirm(1).has_value());  // once only
}

TEST(LeaderReadsTest, LaterReadsWaitForTheNextRound) {
  LeaderReads reads;
  const Read a{NodeId(1), 1}, b{NodeId(1), 2};
  reads.Add(a);
  reads.StartRound(Index(5));
  reads.Add(b);
  EXPECT_FALSE(reads.WantsRound());  // one round at a time
  EXPECT_FALSE(reads.Confirm(0).has_value());

  EXPECT_THAT(reads.Confirm(1)->reads, ElementsAre(a));
  EXPECT_TRUE(reads.WantsRound());
  reads.StartRound(Index(8));
  EXPECT_FALSE(reads.Confirm(1).has_value());  // of the round before
  const auto confirmed = reads.Confirm(2);
  EXPECT_EQ(confirmed->index, Index(8));
  EXPECT_THAT(confirmed->reads, ElementsAre(b));
}

TEST(LeaderReadsTest, TakeAllLeavesNothingToConfirm) {
  LeaderReads reads;
  const Read a{NodeId(1), 1}, b{NodeId(3), 2};
  reads.Add(a);
  reads.StartRound(Index(5));
  reads.Add(b);
  EXPECT_THAT(reads.TakeAll(), ElementsAre(a, b));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(reads.WantsRound());
  EXPECT_FALSE(reads.Confirm(1).has_value());
}

TEST(FollowerReadsTest, OneRequestForAllThatWait) {
  FollowerReads reads(/*first_id=*/100, /*timeout_ticks=*/3);
  reads.Add(1);
  reads.Add(2);
  EXPECT_TRUE(reads.HasRequest());
  EXPECT_EQ(reads.TakeRequest(), 100u);
  EXPECT_FALSE(reads.HasRequest());
  reads.Add(3);
  EXPECT_EQ(reads.TakeRequest(), 101u);

  EXPECT_THAT(reads.TakeAnswered(101), ElementsAre(3));
  EXPECT_THAT(reads.TakeAnswered(101), IsEmpty());
  EXPECT_THAT(reads.TakeAnswered(7), IsEmpty());
  EXPECT_THAT(reads.TakeAnswered(100), ElementsAre(1, 2));
  EXPECT_TRUE(reads.empty());
}

TEST(FollowerReadsTest, UnansweredRequestsExpire) {
  FollowerReads reads(100, 3);
  reads.Add(1);
  const uint64_t first = reads.TakeRequest();
  EXPECT_THAT(reads.Tick(), IsEmpty());
  reads.Add(2);
  const uint64_t second = reads.TakeRequest();
  EXPECT_THAT(reads.Tick(), IsEmpty());
  EXPECT_THAT(reads.Tick(), ElementsAre(1));
  EXPECT_THAT(reads.TakeAnswered(first), IsEmpty());
  EXPECT_THAT(reads.TakeAnswered(second), ElementsAre(2));
  EXPECT_THAT(reads.Tick(), IsEmpty());
}

TEST(FollowerReadsTest, TakeAllIncludesThoseNotAskedFor) {
  FollowerReads reads(100, 3);
  reads.Add(1);
  const uint64_t id = reads.TakeRequest();
  reads.Add(2);
  EXPECT_THAT(reads.TakeAll(), ElementsAre(1, 2));
  EXPECT_TRUE(reads.empty());
  EXPECT_THAT(reads.TakeAnswered(id), IsEmpty());
}

}  // namespace
}  // namespace raftkv::raft
