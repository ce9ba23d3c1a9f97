// A membership as bytes: exact ones, all of them read back, and nothing else taken for one.
#include <gtest/gtest.h>

#include "common/membership_codec.h"

namespace raftkv {
namespace {

Membership Full() {
  Membership membership;
  membership.voters = {NodeId(1), NodeId(300)};
  membership.outgoing = {NodeId(1), NodeId(2)};
  membership.learners = {NodeId(2), NodeId(UINT64_MAX)};
  membership.removed = {NodeId(7)};
  membership.info[NodeId(1)] = {{"http://a:1", "http://b:2"}, false};
  membership.info[NodeId(300)] = {{}, true};
  return membership;
}

std::string Bytes(std::initializer_list<int> bytes) {
  std::string out;
  for (const int byte : bytes) out.push_back(static_cast<char>(byte));
  return out;
}

// Written out by hand from the description of the format.
TEST(MembershipCodec, GoldenBytes) {
  EXPECT_EQ(EncodeMembership({}), Bytes({2, 0, 0, 0, 0, 0}));
  EXPECT_EQ(EncodeMembership(Full()),
            Bytes({2,    2,    1,    0xac, 2,    2, 1, 2, 2, 2, 0xff, 0xff, 0xff, 0xff,
                   0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 7, 2, 1, 0,    2,    10}) +
                "http://a:1" + Bytes({10}) + "http://b:2" + Bytes({0xac, 2, 1, 0}));
}

TEST(MembershipCodec, WhatIsWrittenIsReadBack) {
  for (const Membership& membership : {Membership{}, Full()}) {
    const auto read = DecodeMembership(EncodeMembership(membership));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, membership);
  }
}

TEST(MembershipCodec, WhatIsCutOffOrTooLongIsRefused) {
  const std::string whole = EncodeMembership(Full());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(DecodeMembership(whole.substr(0, size)).status().code(), Code::kInvalidArgument)
        << size;
  }
  EXPECT_EQ(DecodeMembership(whole + "x").status().code(), Code::kInvalidArgument);
}

// There is one way to write a membership: nodes that compare bytes compare memberships.
TEST(MembershipCodec, OtherWaysToWriteItAreRefused) {
  const auto refused = [](const std::string& bytes) {
    return DecodeMembership(bytes).status().code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused(Bytes({2, 2, 5, 4, 0, 0, 0, 0})));              // ids that descend
  EXPECT_TRUE(refused(Bytes({2, 2, 4, 4, 0, 0, 0, 0})));              // an id twice
  EXPECT_TRUE(refused(Bytes({2, 1, 0, 0, 0, 0, 0})));                 // the id 0
  EXPECT_TRUE(refused(Bytes({2, 0, 0, 0, 0, 1, 0, 0, 0})));           // in the info, too
  EXPECT_TRUE(refused(Bytes({2, 0, 0, 0, 0, 1, 1, 2, 0})));           // an unknown flag
  EXPECT_TRUE(refused(Bytes({2, 0, 0, 0, 0, 2, 2, 0, 0, 1, 0, 0})));  // info that descends
  EXPECT_TRUE(refused(Bytes({2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})));
  EXPECT_TRUE(refused(Bytes({1, 0, 0, 0})));
}

TEST(MembershipCodec, ANewerVersionIsNamed) {
  const auto read = DecodeMembership(Bytes({3, 0, 0, 0, 0, 0}));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(read.status().message().find("format version 3"), std::string::npos);
}

TEST(MembershipCodec, ReadsTheBodyOfTheFirstVersion) {
  const auto read = DecodeMembershipV1(Bytes({2, 1, 2, 0, 1, 3}));
  ASSERT_TRUE(read);
  Membership expected;
  expected.voters = {NodeId(1), NodeId(2)};
  expected.learners = {NodeId(3)};
  EXPECT_EQ(*read, expected);
  EXPECT_FALSE(DecodeMembershipV1(Bytes({2, 1, 2, 0, 1})));
  EXPECT_FALSE(DecodeMembershipV1(Bytes({2, 1, 2, 0, 1, 3, 0})));
}

TEST(Membership, KnowsWhoVotes) {
  const Membership membership = Full();
  EXPECT_TRUE(membership.IsJoint());
  EXPECT_TRUE(membership.IsVoter(NodeId(2)));  // it votes until the joint configuration is left
  EXPECT_FALSE(membership.IsLearner(NodeId(2)));
  EXPECT_TRUE(membership.IsLearner(NodeId(UINT64_MAX)));
  EXPECT_FALSE(membership.Contains(NodeId(7)));
  EXPECT_EQ(membership.All().size(), 4u);
}

}  // namespace
}  // namespace raftkv
