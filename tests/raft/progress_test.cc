#include "raft/progress.h"

#include <gtest/gtest.h>

#include "common/rng.h"

namespace raftkv::raft {
namespace {

using State = Progress::State;

constexpr InflightLimits kLimits{.messages_max = 3, .bytes_max = 1000};

// A follower that has accepted everything up to `match`.
Progress Replicating(uint64_t match) {
  Progress progress(Index(match + 1));
  progress.OnSent(Index(match), 0, Index());
  EXPECT_TRUE(progress.OnAccepted(Index(match), Term(1)));
  EXPECT_EQ(progress.state(), State::kReplicate);
  return progress;
}

TEST(ProgressTest, ProbesWithOneAppendAtATime) {
  Progress progress(Index(5));
  EXPECT_TRUE(progress.CanSend(kLimits));
  progress.OnSent(Index(7), 100, Index());
  EXPECT_FALSE(progress.CanSend(kLimits));
  EXPECT_EQ(progress.next(), Index(5));  // a probe is not counted on
  EXPECT_EQ(progress.inflight_messages(), 0u);

  EXPECT_TRUE(progress.OnAccepted(Index(7), Term(1)));
  EXPECT_EQ(progress.state(), State::kReplicate);
  EXPECT_EQ(progress.match(), Index(7));
  EXPECT_EQ(progress.next(), Index(8));
}

// A node that answers an old message first, after a restart, must still be told what it once had.
TEST(ProgressTest, WhatWasCountedOutlivesARestart) {
  Progress progress(Index(1));
  EXPECT_TRUE(progress.OnHeard(1));
  EXPECT_TRUE(progress.OnAccepted(Index(7), Term(2)));
  EXPECT_TRUE(progress.OnHeard(2));
  EXPECT_EQ(progress.match(), Index());
  EXPECT_EQ(progress.counted(), (LogPosition{Index(7), Term(2)}));
  EXPECT_FALSE(progress.OnHeard(1)) << "that run has ended";
}

TEST(ProgressTest, PipelinesUpToTheMessageLimit) {
  Progress progress = Replicating(4);
  for (uint64_t last = 5; last <= 7; ++last) {
    EXPECT_TRUE(progress.CanSend(kLimits));
    progress.OnSent(Index(last), 10, Index());
  }
  EXPECT_FALSE(progress.CanSend(kLimits));
  EXPECT_EQ(progress.next(), Index(8));

  // An answer frees what it covers, and all before it.
  EXPECT_TRUE(progress.OnAccepted(Index(6), Term(1)));
  EXPECT_EQ(progress.inflight_messages(), 1u);
  EXPECT_EQ(progress.inflight_bytes(), 10u);
  EXPECT_TRUE(progress.CanSend(kLimits));
}

TEST(ProgressTest, PipelinesUpToTheByteLimit) {
  Progress progress = Replicating(4);
  progress.OnSent(Index(5), 1000, Index());
  EXPECT_FALSE(progress.CanSend(kLimits));
  EXPECT_TRUE(progress.OnAccepted(Index(5), Term(1)));
  EXPECT_TRUE(progress.CanSend(kLimits));
}

TEST(ProgressTest, ARejectedProbeGoesBackAndIsAnsweredOnce) {
  Progress progress(Index(10));
  progress.OnSent(Index(9), 0, Index());
  EXPECT_TRUE(progress.OnRejected(Index(9), Index(4)));
  EXPECT_EQ(progress.next(), Index(4));
  EXPECT_TRUE(progress.CanSend(kLimits));
  // The same answer again, or one to an earlier probe, changes nothing.
  EXPECT_FALSE(progress.OnRejected(Index(9), Index(2)));
  EXPECT_EQ(progress.next(), Index(4));
}

TEST(ProgressTest, ARejectionAlwaysGoesBack) {
  Progress progress(Index(10));
  progress.OnSent(Index(9), 0, Index());
  // The hint of a careless follower is not below what it refused.
  EXPECT_TRUE(progress.OnRejected(Index(9), Index(30)));
  EXPECT_EQ(progress.next(), Index(9));
}

TEST(ProgressTest, ARejectionNeverGoesBelowMatch) {
  Progress progress = Replicating(4);
  progress.OnSent(Index(5), 10, Index());
  progress.OnSent(Index(6), 10, Index());
  EXPECT_FALSE(progress.OnRejected(Index(4), Index(2)));  // late: 4 was accepted
  EXPECT_EQ(progress.state(), State::kReplicate);

  EXPECT_TRUE(progress.OnRejected(Index(5), Index(1)));
  EXPECT_EQ(progress.state(), State::kProbe);
  EXPECT_EQ(progress.next(), Index(5));
  EXPECT_EQ(progress.inflight_messages(), 0u);
  EXPECT_EQ(progress.inflight_bytes(), 0u);
}

TEST(ProgressTest, AnOldAcceptanceIsNoNews) {
  Progress progress = Replicating(4);
  EXPECT_FALSE(progress.OnAccepted(Index(4), Term(1)));
  EXPECT_FALSE(progress.OnAccepted(Index(2), Term(1)));
  EXPECT_EQ(progress.match(), Index(4));
}

TEST(ProgressTest, OwesNewsOfCommits) {
  Progress progress = Replicating(4);
  EXPECT_FALSE(progress.OwesCommit(Index(0)));
  EXPECT_TRUE(progress.OwesCommit(Index(3)));
  progress.OnSent(Index(4), 0, Index(3));
  EXPECT_FALSE(progress.OwesCommit(Index(3)));
  // Entries beyond next - 1 could not be committed by an append without them.
  progress.OnSent(Index(4), 0, Index(9));
  EXPECT_FALSE(progress.OwesCommit(Index(9)));
  progress.OnSent(Index(6), 20, Index(9));
  EXPECT_FALSE(progress.OwesCommit(Index(9)));
}

TEST(ProgressTest, LooksForLossOnceARegularHeartbeat) {
  Progress progress = Replicating(4);
  progress.OnSent(Index(6), 10, Index(4));
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(6)));  // to a read's heartbeat
  progress.OnHeartbeatTick();
  EXPECT_TRUE(progress.OnHeartbeatResponse(Index(6)));
  EXPECT_TRUE(progress.owes_append());
  progress.OnSent(Index(6), 0, Index(4));
  EXPECT_FALSE(progress.owes_append());
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(6)));

  // With nothing outstanding there is nothing to look for.
  EXPECT_TRUE(progress.OnAccepted(Index(6), Term(1)));
  progress.OnHeartbeatTick();
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(6)));
}

TEST(ProgressTest, AProbeIsSentAgainAfterAHeartbeat) {
  Progress progress(Index(5));
  progress.OnSent(Index(4), 0, Index());
  progress.OnHeartbeatTick();
  EXPECT_TRUE(progress.OnHeartbeatResponse(Index(4)));
  EXPECT_TRUE(progress.CanSend(kLimits));
}

TEST(ProgressTest, CutOffSendsNothing) {
  Progress progress(Index(5));
  progress.OnCutOff();
  EXPECT_EQ(progress.state(), State::kSnapshot);
  EXPECT_FALSE(progress.CanSend(kLimits));
  EXPECT_FALSE(progress.OwesCommit(Index(9)));
  progress.OnHeartbeatTick();
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(9)));
  EXPECT_FALSE(progress.OnRejected(Index(4), Index(2)));
  // Once it is known to hold more it goes on from there.
  EXPECT_TRUE(progress.OnAccepted(Index(8), Term(1)));
  EXPECT_EQ(progress.state(), State::kReplicate);
  EXPECT_EQ(progress.next(), Index(9));
}

TEST(ProgressTest, ADeliveredSnapshotIsProbedBehind) {
  Progress progress(Index(5));
  EXPECT_FALSE(progress.OnSnapshotSent(Index(40))) << "none was asked for";
  progress.OnCutOff();
  EXPECT_TRUE(progress.OnSnapshotSent(Index(40)));
  EXPECT_EQ(progress.state(), State::kProbe);
  EXPECT_EQ(progress.next(), Index(41));
  EXPECT_EQ(progress.match(), Index()) << "only the follower itself says what it holds";
  EXPECT_TRUE(progress.CanSend(kLimits));
  EXPECT_FALSE(progress.OnSnapshotSent(Index(50))) << "answered once";
}

TEST(ProgressTest, ASnapshotThatIsOvertakenGoesOnBehindWhatIsKnown) {
  Progress progress = Replicating(60);
  progress.OnCutOff();
  EXPECT_TRUE(progress.OnSnapshotSent(Index(40)));
  EXPECT_EQ(progress.next(), Index(61));
}

TEST(ProgressTest, ASnapshotThatFailedIsAskedForAgainOnceTheFollowerIsHeard) {
  Progress progress(Index(5));
  progress.OnCutOff();
  EXPECT_FALSE(progress.OnSnapshotSent(Index()));
  EXPECT_EQ(progress.state(), State::kSnapshot);
  EXPECT_FALSE(progress.CanSend(kLimits));
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(9))) << "of before";
  progress.OnHeartbeatTick();
  EXPECT_TRUE(progress.OnHeartbeatResponse(Index(9)));
  EXPECT_EQ(progress.state(), State::kProbe);
  EXPECT_EQ(progress.next(), Index(5)) << "the probe finds again that it is cut off";
  progress.OnCutOff();
  progress.OnHeartbeatTick();
  EXPECT_FALSE(progress.OnHeartbeatResponse(Index(9))) << "the failure counted once";
}

// Whatever answers come, however late, the invariants hold and match only grows.
TEST(ProgressTest, AnyOrderOfAnswersIsConsistent) {
  Rng rng(7);
  for (int run = 0; run < 500; ++run) {
    const Index last(20);
    Progress progress(Index(rng.Between(1, 21)));
    Index match;
    for (int step = 0; step < 100; ++step) {
      switch (rng.Below(5)) {
        case 0:
          if (progress.CanSend(kLimits)) {
            progress.OnSent(Index(rng.Between(progress.next().value() - 1, last.value())),
                            rng.Below(400), Index(rng.Below(20)));
          }
          break;
        case 1:
          progress.OnAccepted(Index(rng.Below(21)), Term(1));
          break;
        case 2:
          progress.OnRejected(Index(rng.Below(21)), Index(rng.Between(1, 21)));
          break;
        case 3:
          progress.OnHeartbeatTick();
          progress.OnHeartbeatResponse(last);
          break;
        case 4:
          if (rng.Percent(5)) progress.OnCutOff();
          break;
      }
      progress.CheckInvariants(last);
      ASSERT_GE(progress.match(), match);
      match = progress.match();
    }
  }
}

}  // namespace
}  // namespace raftkv::raft
