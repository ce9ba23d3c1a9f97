#include "raft/quorum.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/rng.h"

namespace raftkv::raft {
namespace {

using Values = std::map<NodeId, uint64_t>;

std::set<NodeId> RandomNodes(Rng* rng, size_t max) {
  std::set<NodeId> nodes;
  for (uint64_t n = rng->Below(max + 1); n > 0; --n) nodes.insert(NodeId(rng->Between(1, 7)));
  return nodes;
}

Membership RandomMembership(Rng* rng) {
  Membership membership;
  membership.voters = RandomNodes(rng, 6);
  if (rng->Percent(50)) membership.outgoing = RandomNodes(rng, 6);
  for (uint64_t id = 1; id <= 7; ++id) {
    if (!membership.IsVoter(NodeId(id)) && rng->Percent(30)) membership.learners.insert(NodeId(id));
  }
  return membership;
}

// The definition, spelled out: more than half of each.
bool IsQuorum(const Membership& membership, const std::set<NodeId>& nodes) {
  const auto majority = [&](const std::set<NodeId>& voters) {
    size_t in = 0;
    for (const NodeId voter : voters) in += nodes.contains(voter);
    return 2 * in > voters.size();
  };
  if (membership.voters.empty()) return false;
  return majority(membership.voters) &&
         (membership.outgoing.empty() || majority(membership.outgoing));
}

template <typename Predicate>
std::set<NodeId> NodesWhere(Predicate holds) {
  std::set<NodeId> nodes;
  for (uint64_t id = 1; id <= 7; ++id) {
    if (holds(NodeId(id))) nodes.insert(NodeId(id));
  }
  return nodes;
}

TEST(QuorumTest, AgreesWithTheDefinition) {
  Rng rng(1);
  for (int round = 0; round < 20000; ++round) {
    const Membership membership = RandomMembership(&rng);
    SCOPED_TRACE(ToString(membership));

    Values values;
    for (uint64_t id = 1; id <= 7; ++id) values[NodeId(id)] = rng.Below(6);
    // The highest value for which those that reached it are a quorum.
    uint64_t expected = 0;
    for (uint64_t v = 1; v <= 6; ++v) {
      if (IsQuorum(membership, NodesWhere([&](NodeId id) { return values[id] >= v; })))
        expected = v;
    }
    ASSERT_EQ(QuorumValue(membership, [&](NodeId id) { return values[id]; }), expected);

    const std::set<NodeId> some = NodesWhere([&](NodeId) { return rng.Percent(60); });
    ASSERT_EQ(HasQuorum(membership, [&](NodeId id) { return some.contains(id); }),
              IsQuorum(membership, some));

    std::map<NodeId, bool> votes;
    for (uint64_t id = 1; id <= 7; ++id) {
      if (rng.Percent(60)) votes[NodeId(id)] = rng.Percent(60);
    }
    // Won when those who granted suffice; lost when they would not even with all who are silent.
    const bool won = IsQuorum(
        membership, NodesWhere([&](NodeId id) { return votes.contains(id) && votes.at(id); }));
    const bool can_win =
        membership.voters.empty() ||
        IsQuorum(membership,
                 NodesWhere([&](NodeId id) { return !votes.contains(id) || votes.at(id); }));
    const VoteResult result = TallyVotes(membership, votes);
    ASSERT_EQ(result == VoteResult::kWon, won);
    ASSERT_EQ(result == VoteResult::kLost, !can_win);
  }
}

TEST(QuorumTest, OddAndEvenMajorities) {
  const auto value = [](std::initializer_list<uint64_t> values) {
    Membership membership;
    Values of;
    for (const uint64_t v : values) {
      const NodeId id(of.size() + 1);
      membership.voters.insert(id);
      of[id] = v;
    }
    return QuorumValue(membership, [&](NodeId id) { return of[id]; });
  };
  EXPECT_EQ(value({7}), 7u);
  EXPECT_EQ(value({7, 3}), 3u);
  EXPECT_EQ(value({7, 3, 5}), 5u);
  EXPECT_EQ(value({7, 3, 5, 6}), 5u);
  EXPECT_EQ(value({9, 9, 1, 1, 1}), 1u);
}

TEST(QuorumTest, LearnersDoNotCount) {
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  membership.learners = {NodeId(4), NodeId(5)};
  EXPECT_FALSE(HasQuorum(membership, [](NodeId id) { return id.value() >= 3; }));
  EXPECT_EQ(QuorumValue(membership, [](NodeId id) { return id.value() >= 3 ? 9 : 0; }), 0u);
  EXPECT_EQ(TallyVotes(membership, {{NodeId(1), true}, {NodeId(4), true}, {NodeId(5), true}}),
            VoteResult::kPending);
}

TEST(QuorumTest, WithoutVotersNothingIsDecided) {
  EXPECT_FALSE(HasQuorum({}, [](NodeId) { return true; }));
  EXPECT_EQ(QuorumValue({}, [](NodeId) { return 9; }), 0u);
  EXPECT_EQ(TallyVotes({}, {}), VoteResult::kPending);
}

}  // namespace
}  // namespace raftkv::raft
