#include "raft/acknowledged.h"

#include <gtest/gtest.h>

namespace raftkv::raft {
namespace {

LogPosition Pos(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }

// 100 entries are known to have been acknowledged; there may have been 200.
constexpr uint64_t kAtLeast = 100;
constexpr uint64_t kAtMost = 200;
AckBounds Bounds(bool missing) { return {Pos(kAtLeast, 1), Pos(kAtMost, 1), missing}; }

TEST(AcknowledgedTest, BetweenTheBoundsALogCountsAsWhole) {
  EXPECT_TRUE(Acknowledged(Bounds(false), Pos(99, 1)).lost());
  EXPECT_FALSE(Acknowledged(Bounds(false), Pos(100, 1)).lost());
}

TEST(AcknowledgedTest, ALogThatIsShortHasToReachTheHigherBound) {
  Acknowledged acknowledged(Bounds(false), Pos(99, 1));
  for (const uint64_t index : {100, 150, 199}) {
    acknowledged.OnLogChange(Pos(index, 1));
    EXPECT_TRUE(acknowledged.lost()) << index;
    EXPECT_EQ(acknowledged.VoteFloor(Pos(index, 1)), Pos(kAtMost, 1));
    // Nor does a restart make it whole, with what is remembered.
    EXPECT_TRUE(Acknowledged(acknowledged.owed(), Pos(index, 1)).lost()) << index;
  }
  EXPECT_FALSE(Acknowledged(acknowledged.owed(), Pos(kAtMost, 1)).lost());
  EXPECT_FALSE(Acknowledged(acknowledged.owed(), Pos(101, 2)).lost());
  acknowledged.OnLogChange(Pos(kAtMost, 1));
  EXPECT_FALSE(acknowledged.lost());
}

// It may still count, of an earlier run, what it did not count when it said so.
TEST(AcknowledgedTest, ALeaderThatHasNotHeardOfThisRunDoesNotKnowYet) {
  Acknowledged acknowledged(Bounds(true), Pos(150, 1));
  acknowledged.OnLeaderSays(Term(1), Pos(160, 1), false, Pos(150, 1));
  EXPECT_EQ(acknowledged.owed(), (AckBounds{Pos(160, 1), Pos(kAtMost, 1), true}));
}

TEST(AcknowledgedTest, TheLeaderOfTheTermKnowsWhereItEnds) {
  Acknowledged acknowledged(Bounds(true), Pos(150, 1));
  acknowledged.OnLeaderSays(Term(1), Pos(170, 1), true, Pos(150, 1));
  EXPECT_EQ(acknowledged.owed(), (AckBounds{Pos(170, 1), Pos(170, 1), true}));
  acknowledged.OnLogChange(Pos(170, 1));
  EXPECT_FALSE(acknowledged.lost());
  // And that something is missing at all.
  acknowledged.OnLeaderSays(Term(1), Pos(180, 1), true, Pos(170, 1));
  EXPECT_EQ(acknowledged.owed(), (AckBounds{Pos(180, 1), Pos(180, 1), true}));
}

// Nothing was acknowledged to this leader; more than is known may have been, to one before it.
TEST(AcknowledgedTest, ALeaderDoesNotKnowOfThoseBeforeIt) {
  Acknowledged acknowledged({Pos(2, 4), Pos(104, 11)}, Pos(1, 1));
  acknowledged.OnLeaderSays(Term(11), Pos(0, 0), true, Pos(1, 1));
  acknowledged.OnLogChange(Pos(3, 5));
  EXPECT_TRUE(acknowledged.lost());
  EXPECT_FALSE(IsBehind(acknowledged.VoteFloor(Pos(3, 5)), Pos(4, 9)));
  acknowledged.OnLeaderSays(Term(11), Pos(3, 5), true, Pos(3, 5));
  EXPECT_TRUE(acknowledged.lost());
  acknowledged.OnLogChange(Pos(5, 11));
  EXPECT_FALSE(acknowledged.lost());
}

}  // namespace
}  // namespace raftkv::raft
