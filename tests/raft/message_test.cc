#include "raft/message.h"

#include <gtest/gtest.h>

#include "common/membership.h"

namespace raftkv::raft {
namespace {

std::string Show(MessageBody body) {
  return ToString(Message{NodeId(1), NodeId(2), Term(3), std::move(body)});
}

Entry At(uint64_t index, uint64_t term) { return {Index(index), Term(term), {}, nullptr}; }

TEST(MessageTest, PrintsOnOneLine) {
  const LogPosition four{Index(4), Term(2)};
  EXPECT_EQ(Show(VoteRequest{false, false, four}), "1->2 t3 Vote last=(4,2)");
  EXPECT_EQ(Show(VoteRequest{false, true, four}), "1->2 t3 Vote last=(4,2) transfer");
  EXPECT_EQ(Show(VoteRequest{true, false, four}), "1->2 t3 PreVote last=(4,2)");
  EXPECT_EQ(Show(VoteResponse{false, true}), "1->2 t3 VoteResponse granted");
  EXPECT_EQ(Show(VoteResponse{true, false}), "1->2 t3 PreVoteResponse refused");
  EXPECT_EQ(Show(AppendRequest{four, Index(4), {}}), "1->2 t3 Append prev=(4,2) commit=4 []");
  EXPECT_EQ(Show(AppendRequest{four, Index(4), {At(5, 2), At(6, 3), At(7, 3), At(8, 3)}}),
            "1->2 t3 Append prev=(4,2) commit=4 [5@2 6..8@3]");
  EXPECT_EQ(Show(AppendResponse{false, Index(7), Index(), {}}), "1->2 t3 AppendResponse match=7");
  EXPECT_EQ(Show(AppendResponse{true, Index(), Index(9), four}),
            "1->2 t3 AppendResponse rejected prev=9 hint=(4,2)");
  EXPECT_EQ(Show(Heartbeat{Index(4), 8}), "1->2 t3 Heartbeat commit=4 round=8");
  EXPECT_EQ(Show(HeartbeatResponse{8}), "1->2 t3 HeartbeatResponse round=8");
  EXPECT_EQ(Show(TimeoutNow{}), "1->2 t3 TimeoutNow");
  EXPECT_EQ(Show(ReadIndexRequest{5}), "1->2 t3 ReadIndex token=5");
  EXPECT_EQ(Show(ReadIndexResponse{5, Index(4)}), "1->2 t3 ReadIndexResponse token=5 index=4");
  EXPECT_EQ(Show(ReadIndexResponse{5, Index()}), "1->2 t3 ReadIndexResponse token=5 refused");
  EXPECT_EQ(Show(InstallSnapshot{four}), "1->2 t3 InstallSnapshot last=(4,2)");
}

TEST(MembershipTest, PrintsAndLists) {
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2)};
  EXPECT_EQ(ToString(membership), "voters=(1 2)");
  membership.outgoing = {NodeId(2), NodeId(3)};
  membership.learners = {NodeId(4)};
  EXPECT_EQ(ToString(membership), "voters=(1 2) outgoing=(2 3) learners=(4)");
  EXPECT_EQ(membership.All(), (std::set{NodeId(1), NodeId(2), NodeId(3), NodeId(4)}));
  EXPECT_TRUE(membership.IsVoter(NodeId(3)));
  EXPECT_FALSE(membership.IsVoter(NodeId(4)));
  EXPECT_TRUE(membership.Contains(NodeId(4)));
  EXPECT_FALSE(membership.Contains(NodeId(5)));
}

}  // namespace
}  // namespace raftkv::raft
