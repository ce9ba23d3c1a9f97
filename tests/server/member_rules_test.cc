// Which changes of the configuration a leader lets through.

#include "server/member_rules.h"

#include <gtest/gtest.h>

#include "server/options.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

std::string UrlOf(int id) { return "http://10.0.0." + std::to_string(id) + ":2380"; }

// Members 1..voters vote and are up.
ClusterView View(int voters) {
  ClusterView view;
  for (int i = 1; i <= voters; ++i) {
    view.membership.voters.insert(NodeId(i));
    view.membership.info[NodeId(i)].peer_urls = {UrlOf(i)};
    view.active.insert(NodeId(i));
  }
  return view;
}

TEST(MemberRulesTest, AMemberThatIsToVoteStartsAsALearner) {
  const auto target = AddMember(View(3), NodeId(9), {UrlOf(9)}, /*learner=*/false, 3);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->voters.size(), 3u);
  EXPECT_TRUE(target->IsLearner(NodeId(9)));
  EXPECT_TRUE(target->info.at(NodeId(9)).promote);
  EXPECT_EQ(target->info.at(NodeId(9)).peer_urls, std::vector<std::string>{UrlOf(9)});
  EXPECT_FALSE(
      AddMember(View(3), NodeId(9), {UrlOf(9)}, /*learner=*/true, 3)->info.at(NodeId(9)).promote);
}

TEST(MemberRulesTest, AddingRefuses) {
  ClusterView view = View(3);
  EXPECT_EQ(AddMember(view, NodeId(2), {UrlOf(9)}, true, 3).status(), ErrMemberExists());
  EXPECT_EQ(AddMember(view, NodeId(9), {UrlOf(2)}, true, 3).status(), ErrPeerUrlExists());
  EXPECT_EQ(AddMember(view, NodeId(9), {UrlOf(9), UrlOf(2)}, true, 3).status(), ErrPeerUrlExists());
  EXPECT_EQ(AddMember(view, NodeId(9), {}, true, 3).status(), ErrBadMemberUrls());
  EXPECT_EQ(AddMember(view, NodeId(9), {"10.0.0.9"}, true, 3).status(), ErrBadMemberUrls());
  view.membership.removed.insert(NodeId(9));
  EXPECT_EQ(AddMember(view, NodeId(9), {UrlOf(9)}, true, 3).status(), ErrMemberExists());
  view.membership.learners = {NodeId(7), NodeId(8)};
  EXPECT_EQ(AddMember(view, NodeId(10), {UrlOf(10)}, true, 2).status(), ErrTooManyLearners());
  EXPECT_TRUE(AddMember(view, NodeId(10), {UrlOf(10)}, true, 3).ok());
}

TEST(MemberRulesTest, RemovingKeepsAQuorumOfActiveVoters) {
  ClusterView view = View(3);
  const auto target = RemoveMember(view, NodeId(2));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_FALSE(target->Contains(NodeId(2)));
  EXPECT_TRUE(target->removed.contains(NodeId(2)));
  EXPECT_EQ(target->info.at(NodeId(2)).peer_urls, std::vector<std::string>{UrlOf(2)});
  EXPECT_TRUE(AddMember({*target, {}, {}, {}}, NodeId(9), {UrlOf(2)}, true, 3).ok())
      << "its address is free again";
  EXPECT_EQ(RemoveMember(view, NodeId(9)).status(), store::ErrMemberNotFound());
  // Node 3 is down: it can go, but without node 2 only one of two voters would be up.
  view.active.erase(NodeId(3));
  EXPECT_TRUE(RemoveMember(view, NodeId(3)).ok());
  EXPECT_EQ(RemoveMember(view, NodeId(2)).status(), ErrNotEnoughStarted());
  EXPECT_EQ(RemoveMember(View(1), NodeId(1)).status(), ErrNotEnoughStarted());
  // A learner is nobody's quorum.
  view.membership.learners.insert(NodeId(4));
  EXPECT_TRUE(RemoveMember(view, NodeId(4)).ok());
}

TEST(MemberRulesTest, UpdatingChangesAddressesOnly) {
  const ClusterView view = View(3);
  const auto target = UpdateMember(view, NodeId(2), {UrlOf(12)});
  ASSERT_TRUE(target.ok()) << target.status();
  Membership expected = view.membership;
  expected.info[NodeId(2)].peer_urls = {UrlOf(12)};
  EXPECT_EQ(*target, expected);
  EXPECT_TRUE(UpdateMember(view, NodeId(2), {UrlOf(2)}).ok()) << "its own address is not taken";
  EXPECT_EQ(UpdateMember(view, NodeId(2), {UrlOf(3)}).status(), ErrPeerUrlExists());
  EXPECT_EQ(UpdateMember(view, NodeId(9), {UrlOf(9)}).status(), store::ErrMemberNotFound());
}

TEST(MemberRulesTest, OnlyALearnerInSyncIsPromoted) {
  ClusterView view = View(3);
  view.membership.learners.insert(NodeId(4));
  view.membership.info[NodeId(4)] = {{UrlOf(4)}, /*promote=*/true};
  EXPECT_EQ(PromoteMember(view, NodeId(9)).status(), store::ErrMemberNotFound());
  EXPECT_EQ(PromoteMember(view, NodeId(1)).status(), ErrNotLearner());
  EXPECT_EQ(PromoteMember(view, NodeId(4)).status(), ErrLearnerNotReady());
  EXPECT_TRUE(LearnerToPromote(view).none());
  view.caught_up.insert(NodeId(4));
  view.active.insert(NodeId(4));
  const auto target = PromoteMember(view, NodeId(4));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_TRUE(target->IsVoter(NodeId(4)));
  EXPECT_FALSE(target->IsLearner(NodeId(4)));
  EXPECT_FALSE(target->info.at(NodeId(4)).promote);
  EXPECT_EQ(LearnerToPromote(view), NodeId(4));
  // A learner that was added as one stays one until it is asked.
  view.membership.info[NodeId(4)].promote = false;
  EXPECT_TRUE(LearnerToPromote(view).none());
  // Two of four voters up are no quorum.
  view.active = {NodeId(1), NodeId(4)};
  EXPECT_EQ(PromoteMember(view, NodeId(4)).status(), ErrUnhealthy());
}

TEST(MemberRulesTest, NewIdsDifferWithTimeAndAddress) {
  const NodeId id = NewMemberId(ClusterId(1), {UrlOf(1)}, 5);
  EXPECT_EQ(id, NewMemberId(ClusterId(1), {UrlOf(1)}, 5));
  EXPECT_NE(id, NewMemberId(ClusterId(1), {UrlOf(1)}, 6));
  EXPECT_NE(id, NewMemberId(ClusterId(1), {UrlOf(2)}, 5));
  EXPECT_NE(id, NewMemberId(ClusterId(2), {UrlOf(1)}, 5));
}

}  // namespace
}  // namespace raftkv::server
