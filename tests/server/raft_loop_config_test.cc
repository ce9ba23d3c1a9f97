// The raft loop's part in changes of the configuration and in snapshots that are installed.

#include <gtest/gtest.h>

#include <filesystem>

#include "server/loop_node.h"
#include "server/snapshot_store.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Copies `from`'s applied state to `to`, where it is then staged.
raft::SnapshotMeta Stage(LoopNode* from, LoopNode* to, const std::string& scratch) {
  const auto source = StoreChunkSource(&from->engine(), scratch + "/out")().value();
  std::filesystem::create_directories(scratch + "/in");
  const auto sink = StoreChunkSink(&to->engine())(scratch + "/in", source->id()).value();
  std::string chunk;
  while (source->Next(&chunk).value()) EXPECT_TRUE(sink->Add(chunk).ok());
  raft::SnapshotMeta meta = sink->Finish().value();
  meta.membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  std::filesystem::remove_all(scratch + "/in");
  return meta;
}

bool Offer(LoopNode* node, const raft::SnapshotMeta& snapshot) {
  std::promise<bool> taken;
  node->loop().OnSnapshotReady(NodeId(2), Term(5), snapshot,
                               [&](bool is_taken) { taken.set_value(is_taken); });
  return Await(taken.get_future());
}

bool ReachesIndex(LoopNode* node, Index index) {
  std::promise<bool> applied;
  node->apply_loop().WhenApplied(index, [&](bool is_applied) { applied.set_value(is_applied); });
  return Await(applied.get_future());
}

// Node 1 follows node 2, and a third node has a state to send.
class SnapshotReadyTest : public RaftLoopTest {
 protected:
  SnapshotReadyTest()
      : leader_(NodeId(2)),
        ahead_(dir_ + "/ahead", 1, options_),
        node_(dir_ + "/node", 3, Patient(), {{2, leader_.port()}}) {
    node_.Hear(NodeId(2), Term(5), raft::Heartbeat{});
    for (const char* key : {"a", "b", "c"}) {
      EXPECT_TRUE(Await(ahead_.Put(key, "v")).status.ok());
    }
  }

  // No test's answer comes from a deadline.
  RaftLoopOptions Patient() {
    options_.request_timeout = std::chrono::hours(1);
    return options_;
  }

  SilentPeer leader_;
  LoopNode ahead_;
  LoopNode node_;
};

TEST_F(SnapshotReadyTest, OneThatIsTakenIsTheStateFromThenOn) {
  const raft::SnapshotMeta meta = Stage(&ahead_, &node_, dir_);
  EXPECT_TRUE(Offer(&node_, meta));
  EXPECT_TRUE(ReachesIndex(&node_, meta.last.index));
  EXPECT_EQ(node_.store().revision(), ahead_.store().revision());
  etcdserverpb::RangeRequest range;
  range.set_key("c");
  EXPECT_EQ(node_.store().Range(range).value().kvs(0).value(), "v");
  EXPECT_EQ(node_.store().applied().position, meta.last);
}

TEST_F(SnapshotReadyTest, OneThatIsNotNewIsNotTaken) {
  const raft::SnapshotMeta first = Stage(&ahead_, &node_, dir_);
  const raft::SnapshotMeta again = Stage(&ahead_, &node_, dir_);
  EXPECT_TRUE(Offer(&node_, first));
  EXPECT_TRUE(ReachesIndex(&node_, first.last.index));
  EXPECT_FALSE(Offer(&node_, again));
  EXPECT_TRUE(node_.engine().DropStagedKv(again.id).ok()) << "it may be discarded";
}

TEST_F(SnapshotReadyTest, AfterStopItIsNotTaken) {
  const raft::SnapshotMeta meta = Stage(&ahead_, &node_, dir_);
  node_.loop().Stop();
  EXPECT_FALSE(Offer(&node_, meta));
}

TEST_F(SnapshotReadyTest, AForwardedWriteThatItMayHoldIsAnsweredAtOnce) {
  auto put = node_.Put("k", "v");
  ASSERT_TRUE(leader_.WaitFor([](const auto& frame) { return frame.has_forward(); }));
  EXPECT_TRUE(Offer(&node_, Stage(&ahead_, &node_, dir_)));
  EXPECT_EQ(Await(std::move(put)).status.code(), Code::kOutcomeUnknown);
}

// --- Changes of the configuration ---------------------------------------------------------------

ConfigChange Add(uint64_t id) {
  return [id](const ClusterView& view) -> StatusOr<Membership> {
    Membership target = view.membership;
    target.learners.insert(NodeId(id));
    return target;
  };
}

TEST_F(RaftLoopTest, AChangeIsAnsweredOnceItIsApplied) {
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Put("k", "v")).status.ok()) << "it does not lead";
  const StatusOr<Membership> added = Await(node.Change(Add(7)));
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->learners, std::set<NodeId>{NodeId(7)});
  EXPECT_EQ(node.store().Configuration(), *added);
}

TEST_F(RaftLoopTest, EachOfSeveralChangesStartsFromTheOneBefore) {
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Put("k", "v")).status.ok()) << "it does not lead";
  auto first = node.Change(Add(7));
  auto second = node.Change(Add(8));
  EXPECT_TRUE(Await(std::move(first)).ok());
  EXPECT_EQ(Await(std::move(second))->learners, (std::set<NodeId>{NodeId(7), NodeId(8)}));
}

TEST_F(RaftLoopTest, AChangesOwnRefusalIsTheAnswer) {
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Put("k", "v")).status.ok()) << "it does not lead";
  const Status refusal(Code::kFailedPrecondition, "not today");
  const auto refuse = [&](const ClusterView&) -> StatusOr<Membership> { return refusal; };
  EXPECT_EQ(Await(node.Change(refuse)).status(), refusal);
  EXPECT_TRUE(Await(node.Change(Add(7))).ok()) << "the next one is not held up";
}

TEST_F(RaftLoopTest, ANewLeaderWaitsForNewsOfTheMembersThatAChangeNeeds) {
  SilentPeer second(NodeId(2));
  SilentPeer third(NodeId(3));
  LoopNode node(dir_, 3, options_, {{2, second.port()}, {3, third.port()}});
  node.Hear(NodeId(2), Term(5), raft::Heartbeat{});
  node.Hear(NodeId(2), Term(5), raft::TimeoutNow{});
  ASSERT_TRUE(second.WaitFor([](const auto& frame) { return frame.has_vote_request(); }));
  node.Hear(NodeId(3), Term(6), raft::VoteResponse{.granted = true});
  ASSERT_TRUE(third.WaitFor([](const auto& frame) { return frame.has_append_request(); }));
  node.Hear(NodeId(3), Term(6), raft::AppendResponse{.match = Index(1)});
  // 1 and 2 are to go on without 3, and 2 has not been heard of: it may be up, or not.
  auto removed = node.Change([](const ClusterView& view) { return RemoveMember(view, NodeId(3)); });
  ASSERT_EQ(removed.wait_for(10 * options_.tick), std::future_status::timeout);
  node.Hear(NodeId(2), Term(6), raft::AppendResponse{.match = Index(1)});
  ASSERT_TRUE(second.WaitFor([](const auto& frame) {
    const peer::v1::AppendRequest& append = frame.append_request();
    return append.previous().index() == 1 && append.entries_size() == 1;
  }));
  node.Hear(NodeId(2), Term(6), raft::AppendResponse{.match = Index(2)});
  const StatusOr<Membership> result = Await(std::move(removed));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->voters, (std::set<NodeId>{NodeId(1), NodeId(2)}));
}

TEST_F(RaftLoopTest, OnlyALeaderChangesMembers) {
  LoopNode node(dir_, 3, options_);
  EXPECT_EQ(Await(node.Change(Add(7))).status(), store::ErrNotLeader());
}

TEST_F(RaftLoopTest, AChangeThatCantBeCommittedInTimeIsUnknown) {
  options_.request_timeout = milliseconds(60);
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(node.PutsAtLast());
  const auto add_voter = [](const ClusterView& view) -> StatusOr<Membership> {
    Membership target = view.membership;
    target.voters.insert(NodeId(2));  // of which nobody hears
    return target;
  };
  auto first = node.Change(add_voter);
  auto second = node.Change(Add(7));
  EXPECT_EQ(Await(std::move(first)).status().code(), Code::kOutcomeUnknown);
  const Status waited = Await(std::move(second)).status();
  EXPECT_EQ(waited, store::ErrTimeout()) << "never proposed: definitely not made";
}

TEST_F(RaftLoopTest, AChangeThatIsNotAppliedInTimeIsUnknown) {
  options_.request_timeout = seconds(1);
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(node.PutsAtLast()) << "it does not lead";
  // Whoever hears first of the next put holds up the apply thread.
  std::promise<void> held_up;
  std::promise<void> go_on;
  node.loop().Write(store::EncodeCommand(store::CommandType::kPut, 7, {},
                                         etcdserverpb::PutRequest().SerializeAsString()),
                    [&](store::ApplyResult&&) {
                      held_up.set_value();
                      go_on.get_future().wait();
                    });
  Await(held_up.get_future());
  auto change = node.Change(Add(7));
  const bool answered = change.wait_for(kPatience) == std::future_status::ready;
  go_on.set_value();
  ASSERT_TRUE(answered) << "it waits for the apply thread";
  EXPECT_EQ(change.get().status().code(), Code::kOutcomeUnknown);
}

TEST_F(RaftLoopTest, AfterStopNoChangeIsMade) {
  LoopNode node(dir_, 1, options_);
  node.loop().Stop();
  EXPECT_EQ(Await(node.Change(Add(7))).status(), store::ErrStopped());
}

}  // namespace
}  // namespace raftkv::server
