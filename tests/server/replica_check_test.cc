// When the members are compared, and what is made of their answers; time is by hand.

#include "server/replica_check.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace raftkv::server {
namespace {

using std::chrono::seconds;

const NodeId kSelf(1), kB(2), kC(3), kD(4);
using Ids = std::set<NodeId>;

TEST(CorruptMembersTest, TheMajorityIsRightAndWithoutOneTheLeader) {
  using Hashes = std::map<NodeId, uint64_t>;
  EXPECT_EQ(CorruptMembers(Hashes{{kSelf, 7}, {kB, 7}, {kC, 7}}, kSelf), Ids{});
  EXPECT_EQ(CorruptMembers(Hashes{{kSelf, 7}, {kB, 8}, {kC, 7}}, kSelf), Ids{kB});
  EXPECT_EQ(CorruptMembers(Hashes{{kSelf, 8}, {kB, 7}, {kC, 7}}, kSelf), Ids{kSelf})
      << "the leader itself";
  EXPECT_EQ(CorruptMembers(Hashes{{kSelf, 7}, {kB, 8}}, kSelf), Ids{kB});
  EXPECT_EQ(CorruptMembers(Hashes{{kSelf, 7}, {kB, 8}, {kC, 8}, {kD, 7}}, kSelf), (Ids{kB, kC}));
  EXPECT_EQ(CorruptMembers(Hashes{{kB, 8}}, kSelf), Ids{}) << "nothing is known of the leader";
}

// A leader of three, made of numbers. What is posted waits until Work.
class ReplicaCheckTest : public testing::Test {
 protected:
  struct Member {
    uint64_t revision = 100;  // it has applied
    uint64_t hash = 7;
    std::optional<Status> failure;
    int asked = 0;
  };

  ReplicaCheckTest() : check_(kSelf, seconds(60), Hooks()) {}

  ReplicaCheckHooks Hooks() {
    ReplicaCheckHooks hooks;
    hooks.leads = [this] { return leads_; };
    hooks.others = [this] { return Ids{kB, kC}; };
    hooks.hash_own = [this]() { return Answer(&own_, own_.revision); };
    hooks.ask = [this](NodeId id, uint64_t revision) { return Answer(&members_[id], revision); };
    hooks.raise_alarm = [this](NodeId id) { raised_.push_back(id); };
    hooks.post = [this](std::function<void()> work) { posted_.push_back(std::move(work)); };
    return hooks;
  }

  static StatusOr<HashKvAnswer> Answer(Member* member, uint64_t revision) {
    ++member->asked;
    if (member->failure) return *member->failure;
    if (revision > member->revision) return Status(Code::kOutOfRange, "a future revision");
    HashKvAnswer answer;
    answer.hash = member->hash;
    answer.revision = revision;
    return answer;
  }

  // A step after `pause`; true when it posted something, which is then done.
  bool Step(ReplicaCheck::Clock::duration pause) {
    now_ += pause;
    check_.Step(now_);
    return Work();
  }
  bool Work() {
    const auto work = std::exchange(posted_, {});
    for (const auto& item : work) item();
    return !work.empty();
  }

  // Up to the first check.
  void Begin() {
    EXPECT_FALSE(Step(seconds(0)));
    EXPECT_TRUE(Step(seconds(60)));
  }

  bool leads_ = true;
  Member own_;
  std::map<NodeId, Member> members_{{kB, {}}, {kC, {}}};
  std::vector<NodeId> raised_;
  std::vector<std::function<void()>> posted_;
  ReplicaCheck check_;
  ReplicaCheck::Clock::time_point now_ = ReplicaCheck::Clock::time_point{} + seconds(1000);
};

TEST_F(ReplicaCheckTest, OnlyALeaderComparesAndNotAtOnce) {
  leads_ = false;
  EXPECT_FALSE(Step(seconds(0)));
  EXPECT_FALSE(Step(seconds(120)));
  leads_ = true;
  EXPECT_FALSE(Step(seconds(59)));
  EXPECT_TRUE(Step(seconds(1)));
  EXPECT_FALSE(Step(seconds(59)));
  EXPECT_TRUE(Step(seconds(1)));
  EXPECT_EQ(check_.started(), 2u);
  EXPECT_TRUE(raised_.empty());
}

TEST_F(ReplicaCheckTest, NamesTheMemberThatDiffers) {
  members_[kC].hash = 8;
  Begin();
  EXPECT_EQ(raised_, std::vector<NodeId>{kC});
}

TEST_F(ReplicaCheckTest, AMemberThatIsBehindIsAskedAgainForTheSameRevision) {
  members_[kC].revision = 99;
  members_[kC].hash = 8;
  Begin();
  EXPECT_TRUE(raised_.empty());
  EXPECT_FALSE(Step(ReplicaCheck::kAskAgainEvery / 2)) << "not all the time";
  own_.revision = 200;  // writes go on
  members_[kC].revision = 100;
  EXPECT_TRUE(Step(ReplicaCheck::kAskAgainEvery));
  EXPECT_EQ(raised_, std::vector<NodeId>{kC});
  EXPECT_EQ(members_[kB].asked, 1) << "who has answered is not asked again";
  EXPECT_EQ(own_.asked, 1);
  EXPECT_FALSE(Step(ReplicaCheck::kAskAgainEvery)) << "it is over until the next check";
}

TEST_F(ReplicaCheckTest, OneThatStaysBehindIsGivenUpAndTheOthersAreCompared) {
  members_[kC].revision = 99;
  members_[kB].hash = 8;
  Begin();
  int asked = 1;
  while (Step(ReplicaCheck::kAskAgainEvery)) ++asked;
  EXPECT_EQ(asked, ReplicaCheck::kAsksMax);
  EXPECT_EQ(members_[kC].asked, asked);
  EXPECT_EQ(raised_, std::vector<NodeId>{kB});
}

TEST_F(ReplicaCheckTest, OneThatIsDownIsNotWaitedFor) {
  members_[kC].failure = Status(Code::kUnavailable, "nobody is there");
  Begin();
  EXPECT_FALSE(Step(ReplicaCheck::kAskAgainEvery));
  EXPECT_EQ(members_[kC].asked, 1);
  EXPECT_TRUE(raised_.empty());
}

TEST_F(ReplicaCheckTest, OneThatFindsItsOwnDataDamagedIsNamed) {
  members_[kC].failure = Status(Code::kCorruption, "checksum");
  Begin();
  EXPECT_EQ(raised_, std::vector<NodeId>{kC});
  raised_.clear();
  own_.failure = Status(Code::kCorruption, "checksum");
  EXPECT_TRUE(Step(seconds(60)));
  EXPECT_EQ(raised_, std::vector<NodeId>{kSelf});
}

TEST_F(ReplicaCheckTest, WhileOneIsUnderWayNothingElseIsPosted) {
  EXPECT_FALSE(Step(seconds(0)));
  now_ += seconds(60);
  check_.Step(now_);
  now_ += seconds(600);
  check_.Step(now_);
  EXPECT_EQ(posted_.size(), 1u);
  EXPECT_TRUE(Work());
  EXPECT_TRUE(Step(seconds(0))) << "the next one is overdue";
}

TEST_F(ReplicaCheckTest, ANodeThatLeadsNoMoreForgetsWhatItWaitedFor) {
  members_[kC].revision = 99;
  Begin();
  leads_ = false;
  EXPECT_FALSE(Step(ReplicaCheck::kAskAgainEvery));
  leads_ = true;
  EXPECT_FALSE(Step(ReplicaCheck::kAskAgainEvery));
  EXPECT_EQ(members_[kC].asked, 1);
}

TEST(ReplicaCheckOffTest, AnIntervalOfNoneIsNever) {
  int posted = 0;
  ReplicaCheckHooks hooks;
  hooks.leads = [] { return true; };
  hooks.post = [&](const std::function<void()>&) { ++posted; };
  ReplicaCheck check(kSelf, seconds(0), hooks);
  for (int i = 1; i < 5; ++i) check.Step(ReplicaCheck::Clock::time_point{} + seconds(i * 1000));
  EXPECT_EQ(posted, 0);
}

}  // namespace
}  // namespace raftkv::server
