// The configuration, the alarms, and the hash of what clients can read.
#include <gtest/gtest.h>

#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

using etcdserverpb::AlarmRequest;
using etcdserverpb::AlarmResponse;
using Raised = std::vector<std::pair<uint64_t, int>>;

AlarmRequest Request(AlarmRequest::AlarmAction action, uint64_t member,
                     etcdserverpb::AlarmType type) {
  AlarmRequest request;
  request.set_action(action);
  request.set_memberid(member);
  request.set_alarm(type);
  return request;
}

class Cluster : public testing::Test {
 protected:
  Raised Do(AlarmRequest::AlarmAction action, uint64_t member, etcdserverpb::AlarmType type) {
    const ApplyResult result = node_.Apply(CommandType::kAlarm, Request(action, member, type));
    Raised raised;
    for (const auto& alarm : std::get<AlarmResponse>(result.response).alarms()) {
      raised.emplace_back(alarm.memberid(), alarm.alarm());
    }
    return raised;
  }
  Raised Now() {
    Raised raised;
    for (const auto& alarm : node_.store().Alarms()) {
      raised.emplace_back(alarm.memberid(), alarm.alarm());
    }
    return raised;
  }
  void Member(uint64_t id) {
    etcdserverpb::Member member;
    member.set_id(id);
    node_.Apply(CommandType::kMemberAttributes, member);
  }

  TestNode node_;
};

TEST_F(Cluster, AlarmsAreRaisedAndLowered) {
  using etcdserverpb::CORRUPT;
  using etcdserverpb::NONE;
  using etcdserverpb::NOSPACE;
  EXPECT_EQ(Do(AlarmRequest::ACTIVATE, 1, NONE), Raised{});
  EXPECT_EQ(Do(AlarmRequest::ACTIVATE, 1, NOSPACE), (Raised{{1, 1}}));
  EXPECT_EQ(Do(AlarmRequest::ACTIVATE, 1, NOSPACE), (Raised{{1, 1}})) << "again";
  Do(AlarmRequest::ACTIVATE, 2, NOSPACE);
  Do(AlarmRequest::ACTIVATE, 2, CORRUPT);
  Do(AlarmRequest::ACTIVATE, 3, CORRUPT);
  EXPECT_EQ(Do(AlarmRequest::GET, 0, NOSPACE), (Raised{{1, 1}, {2, 1}}));
  EXPECT_EQ(Do(AlarmRequest::GET, 0, NONE).size(), 4u);
  node_.Restart();
  EXPECT_EQ(Now(), (Raised{{1, 1}, {2, 1}, {2, 2}, {3, 2}}));
  EXPECT_EQ(Do(AlarmRequest::DEACTIVATE, 1, CORRUPT), Raised{}) << "not raised";
  EXPECT_EQ(Do(AlarmRequest::DEACTIVATE, 1, NONE), Raised{});
  EXPECT_EQ(Do(AlarmRequest::DEACTIVATE, 1, NOSPACE), (Raised{{1, 1}}));
  EXPECT_EQ(Do(AlarmRequest::DEACTIVATE, 0, CORRUPT), (Raised{{2, 2}, {3, 2}}));
  EXPECT_EQ(Now(), (Raised{{2, 1}}));
  EXPECT_EQ(Do(AlarmRequest::DEACTIVATE, 0, NONE), (Raised{{2, 1}}));
  EXPECT_EQ(node_.CountKind(kAlarmKind), 0u);
  EXPECT_EQ(node_.store().revision(), 1) << "alarms are no changes of the data";
}

TEST_F(Cluster, ConfigurationIsKeptAndTheRemovedAreForgotten) {
  Member(1);
  Member(2);
  Do(AlarmRequest::ACTIVATE, 2, etcdserverpb::NOSPACE);
  EXPECT_FALSE(node_.store().Configuration().has_value());
  Membership membership;
  membership.voters = {NodeId(1)};
  membership.info[NodeId(1)].peer_urls = {"http://h:1"};
  membership.removed = {NodeId(2)};
  node_.AppendConfig(membership);
  node_.ApplyPending();
  EXPECT_EQ(node_.store().Configuration(), membership);
  ASSERT_EQ(node_.store().Members().size(), 1u);
  EXPECT_EQ(Now(), Raised{});
  Member(2);  // was under way
  EXPECT_EQ(Do(AlarmRequest::ACTIVATE, 2, etcdserverpb::NOSPACE), Raised{});
  EXPECT_EQ(node_.store().Members().size(), 1u);
  node_.Restart();
  EXPECT_EQ(node_.store().Configuration(), membership);
  membership.voters.insert(NodeId(3));
  node_.AppendConfig(membership);
  node_.ApplyPending();
  EXPECT_EQ(node_.store().Configuration(), membership);
}

void Change(TestNode* node, const std::string& odd_value) {
  for (int i = 0; i < 300; ++i) {
    const std::string key = "key" + std::to_string(i % 50);
    node->Append(CommandType::kPut, PutOf(key, i == 260 ? odd_value : std::to_string(i)));
    if (i % 7 == 0)
      node->Append(CommandType::kDeleteRange, DeleteOf("key" + std::to_string(i % 11)));
  }
}

TEST(HashAt, IsOfTheDataAndNotOfItsHistory) {
  TestNode one;
  TestNode other;
  TestNode different;
  Change(&one, "v");
  Change(&other, "v");
  Change(&different, "w");
  one.ApplyPending();
  different.ApplyPending();
  while (other.store().applied().position.index.value() < other.last_index()) {
    other.ApplyPending(13);
    ASSERT_TRUE(other.engine().FlushKv().ok());
  }
  const int64_t newest = one.store().revision();
  other.Compact(newest - 1);
  other.CompactAll();
  other.Restart();
  const auto hash = one.store().HashAt(0, nullptr);
  ASSERT_TRUE(hash.ok());
  EXPECT_EQ(hash->revision, newest);
  EXPECT_EQ(other.store().HashAt(0, nullptr)->hash, hash->hash);
  EXPECT_EQ(other.store().HashAt(newest - 1, nullptr)->hash,
            one.store().HashAt(newest - 1, nullptr)->hash);
  EXPECT_EQ(other.store().HashAt(0, nullptr)->compact_revision, newest - 1);
  EXPECT_NE(different.store().HashAt(0, nullptr)->hash, hash->hash);
  EXPECT_NE(one.store().HashAt(newest - 1, nullptr)->hash, hash->hash);

  EXPECT_EQ(other.store().HashAt(newest - 2, nullptr).status(), ErrCompacted());
  EXPECT_EQ(other.store().HashAt(newest + 1, nullptr).status(), ErrFutureRevision());
  EXPECT_EQ(one.store().HashAt(0, [] { return true; }).status().code(), Code::kCancelled);
}

}  // namespace
}  // namespace raftkv::store
