// A node that is to join, against members that answer over loopback.

#include "server/join.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "server/peer_node.h"

namespace raftkv::server {
namespace {

const std::vector<Url> kOwn = {{"127.0.0.1", 7001}, {"127.0.0.1", 7002}};

class AskedMember {
 public:
  explicit AskedMember(const JoinedCluster& knows)
      : peer_(knows.cluster, knows.self, [&knows] {
          PeerHandlers handlers;
          handlers.members = [knows](const PeerHandlers::MembersDone& done) { done(knows); };
          return handlers;
        }()) {}

  Url url() const { return peer_.url(); }

 private:
  ListeningPeer peer_;
};

// What member `self` knows while member 1 leads, without us.
JoinedCluster Knows(uint64_t self) {
  return {ClusterId(9),
          NodeId(self),
          NodeId(1),
          {{NodeId(1), "a", {"http://127.0.0.1:7101"}, false, false},
           {NodeId(2), "b", {"http://127.0.0.1:7001"}, false, false}}};
}

ClusterMember Us(bool removed) {
  // The URLs in another order: it is the set that counts.
  return {NodeId(5), "", {"http://127.0.0.1:7002", "http://127.0.0.1:7001"}, true, removed};
}

TEST(AskToJoin, FindsItselfByItsPeerUrls) {
  JoinedCluster knows = Knows(1);
  knows.members.push_back(Us(false));
  AskedMember member(knows);
  const auto joined = AskToJoin({kOwn[0], member.url()}, kOwn, std::chrono::seconds(20));
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->cluster, ClusterId(9));
  EXPECT_EQ(joined->self, NodeId(5));
  EXPECT_EQ(joined->members, knows.members);
}

TEST(AskToJoin, AMemberThatLagsBehindDoesNotSettleIt) {
  JoinedCluster knows = Knows(1);
  knows.members.push_back(Us(false));
  AskedMember leader(knows);
  AskedMember lagging(Knows(2));
  const auto joined = AskToJoin({lagging.url(), leader.url()}, kOwn, std::chrono::seconds(20));
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->self, NodeId(5));
}

TEST(AskToJoin, OneThatWasNotAddedIsToldToBe) {
  AskedMember leader(Knows(1));  // it has a member with one of our URLs, but not with both
  const auto joined = AskToJoin({leader.url()}, kOwn, std::chrono::seconds(20));
  EXPECT_EQ(joined.status().code(), Code::kNotFound);
  EXPECT_NE(joined.status().message().find("member add"), std::string::npos);
}

TEST(AskToJoin, OneThatWasRemovedLearnsIt) {
  JoinedCluster knows = Knows(1);
  knows.members.push_back(Us(true));
  AskedMember leader(knows);
  const auto joined = AskToJoin({leader.url()}, kOwn, std::chrono::seconds(20));
  EXPECT_EQ(joined.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(joined.status().message().find("was removed"), std::string::npos);
}

TEST(AskToJoin, NobodyThere) {
  const auto joined = AskToJoin({{"127.0.0.1", 1}}, kOwn, std::chrono::milliseconds(300));
  EXPECT_EQ(joined.status().code(), Code::kUnavailable);
  EXPECT_EQ(AskToJoin(kOwn, kOwn, std::chrono::seconds(1)).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace raftkv::server
