#include "wal/start_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace raftkv::wal {
namespace {

using testing::HasSubstr;

constexpr NodeId kNode(1);
constexpr char kDirectory[] = "data/n1";

LogPosition Pos(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }

Membership Voters(std::set<NodeId> voters) {
  Membership membership;
  membership.voters = std::move(voters);
  return membership;
}

// Ten entries, the last of term 2; in term 3, without a vote.
RecoveredLog LogOf(const Membership& membership) {
  RecoveredLog log;
  log.hard_state = {Term(3), NodeId(), Index(8)};
  log.membership = membership;
  log.first = Index(1);
  log.last = Index(10);
  log.terms = {{Index(1), Term(1)}, {Index(5), Term(2)}};
  return log;
}

const Membership kThree = Voters({kNode, NodeId(2), NodeId(3)});
const Membership kAlone = Voters({kNode});

FenceRecord Fenced(LogPosition at_least) {
  FenceRecord fence;
  fence.term = Term(3);
  fence.acknowledged = {at_least, Pos(1000, 3)};
  return fence;
}

TEST(StartCheckTest, WithoutAFenceNothingIsMissing) {
  const auto verdict = CheckStart(LogOf(kAlone), std::nullopt, kNode, kDirectory);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->hard_state, LogOf(kAlone).hard_state);
  EXPECT_FALSE(verdict->forgot_vote);
  EXPECT_EQ(verdict->lost, "");
}

TEST(StartCheckTest, ALogThatReachesWhatWasAcknowledged) {
  for (const LogPosition at_least : {Pos(0, 0), Pos(10, 2), Pos(99, 1)}) {
    const auto verdict = CheckStart(LogOf(kAlone), Fenced(at_least), kNode, kDirectory);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(verdict->lost, "");
    EXPECT_FALSE(verdict->forgot_vote);
  }
}

TEST(StartCheckTest, AShorterLogStartsWhereOthersHaveWhatIsMissing) {
  for (const LogPosition at_least : {Pos(11, 2), Pos(5, 3)}) {
    const auto verdict = CheckStart(LogOf(kThree), Fenced(at_least), kNode, kDirectory);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_THAT(verdict->lost, HasSubstr("but its log ends at index 10 of term 2"));
    // A lone voter, but another one: this node was removed or is not in yet.
    EXPECT_TRUE(CheckStart(LogOf(Voters({NodeId(2)})), Fenced(at_least), kNode, kDirectory).ok());
    const auto alone = CheckStart(LogOf(kAlone), Fenced(at_least), kNode, kDirectory);
    EXPECT_EQ(alone.status().code(), Code::kCorruption);
    EXPECT_THAT(alone.status().message(), HasSubstr("remove data/n1/fence"));
  }
}

// It was once found to be short, and has not got everything back.
TEST(StartCheckTest, AShortLogStaysShort) {
  FenceRecord fence = Fenced(Pos(9, 2));
  fence.acknowledged.missing = true;
  const auto verdict = CheckStart(LogOf(kThree), fence, kNode, kDirectory);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(verdict->lost, HasSubstr("were missing, up to index 1000 of term 3 at most"));
  EXPECT_EQ(CheckStart(LogOf(kAlone), fence, kNode, kDirectory).status().code(), Code::kCorruption);
  fence.acknowledged.at_most = Pos(10, 2);
  EXPECT_EQ(CheckStart(LogOf(kThree), fence, kNode, kDirectory)->lost, "");
}

TEST(StartCheckTest, AnEmptyLogEndsWhereItWasCut) {
  RecoveredLog log = LogOf(kAlone);
  log.terms.clear();
  log.before_first = Pos(10, 2);
  EXPECT_TRUE(CheckStart(log, Fenced(Pos(10, 2)), kNode, kDirectory).ok());
  EXPECT_FALSE(CheckStart(log, Fenced(Pos(11, 2)), kNode, kDirectory).ok());
}

TEST(StartCheckTest, TermAndVoteAreTheFencesWhereTheDatabaseForgotThem) {
  const auto check = [](Term term, NodeId vote) {
    FenceRecord fence = Fenced({});
    fence.term = term;
    fence.vote = vote;
    return CheckStart(LogOf(kThree), fence, kNode, kDirectory).value();
  };
  EXPECT_TRUE(check(Term(4), NodeId()).forgot_vote);
  EXPECT_TRUE(check(Term(3), NodeId(2)).forgot_vote);
  EXPECT_EQ(check(Term(3), NodeId(2)).hard_state, (HardState{Term(3), NodeId(2), Index(8)}));
  EXPECT_FALSE(check(Term(3), NodeId()).forgot_vote);
  EXPECT_FALSE(check(Term(2), NodeId(2)).forgot_vote);
  RecoveredLog voted = LogOf(kThree);
  voted.hard_state.vote = NodeId(3);
  FenceRecord fence = Fenced({});
  fence.vote = NodeId(3);
  EXPECT_FALSE(CheckStart(voted, fence, kNode, kDirectory)->forgot_vote);
}

TEST(StartCheckTest, ARemovedNodeDoesNotStartOnceThatIsCommitted) {
  Membership without = Voters({NodeId(2)});
  without.removed = {kNode};
  RecoveredLog log = LogOf(kThree);
  log.configs = {{Index(8), without}};
  const auto removed = CheckStart(log, std::nullopt, kNode, kDirectory);
  EXPECT_EQ(removed.status().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(CheckStart(log, std::nullopt, NodeId(2), kDirectory).ok());
  log.configs = {{Index(9), without}};
  EXPECT_TRUE(CheckStart(log, std::nullopt, kNode, kDirectory).ok());
}

}  // namespace
}  // namespace raftkv::wal
