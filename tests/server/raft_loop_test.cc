// The raft thread with the real log, store and apply loop around it; no network: the other members
// of a three-node cluster are simply not there.

#include "server/raft_loop.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "server/loop_node.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

TEST_F(RaftLoopTest, AloneItElectsItselfAppliesAndReads) {
  LoopNode node(dir_, 1, options_);
  const store::ApplyResult first = Await(node.Put("k", "v1"));
  ASSERT_TRUE(first.status.ok()) << first.status;
  EXPECT_TRUE(Await(node.Read()).ok());
  etcdserverpb::RangeRequest range;
  range.set_key("k");
  EXPECT_EQ(node.store().Range(range).value().kvs(0).value(), "v1");
  EXPECT_EQ(node.loop().status().role, raft::Role::kLeader);
}

TEST_F(RaftLoopTest, WhatWasAcknowledgedIsThereAfterARestartWithoutAFlush) {
  {
    LoopNode node(dir_, 1, options_);
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(Await(node.Put("k" + std::to_string(i), "v")).status.ok());
    }
  }
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Read()).ok());
  etcdserverpb::RangeRequest range;
  range.set_key("k");
  range.set_range_end("l");
  EXPECT_EQ(node.store().Range(range).value().count(), 50);
}

TEST_F(RaftLoopTest, ARetriedSessionWriteAppliesOnceAndGetsTheFirstAnswer) {
  LoopNode node(dir_, 1, options_);
  const store::ApplyResult first = Await(node.Put("k", "v", {"client", 1}));
  const store::ApplyResult again = Await(node.Put("k", "v", {"client", 1}));
  ASSERT_TRUE(first.status.ok() && again.status.ok());
  EXPECT_TRUE(again.from_session);
  EXPECT_EQ(node.store().revision(), 2);
  const auto revision = [](const store::ApplyResult& result) {
    return std::get<etcdserverpb::PutResponse>(result.response).header().revision();
  };
  EXPECT_EQ(revision(first), revision(again));
}

TEST_F(RaftLoopTest, WithoutALeaderAWriteFailsAsNotApplied) {
  options_.request_timeout = milliseconds(40);
  LoopNode node(dir_, 3, options_);
  const store::ApplyResult result = Await(node.Put("k", "v"));
  EXPECT_EQ(result.status, store::ErrNoLeader());
  EXPECT_NE(result.status.code(), Code::kOutcomeUnknown);
  EXPECT_EQ(Await(node.Read()), store::ErrNoLeader());
}

TEST_F(RaftLoopTest, AForwardedWriteThatIsNeverAnsweredIsUnknown) {
  options_.request_timeout = seconds(5);
  SilentPeer leader(NodeId(2));
  LoopNode node(dir_, 3, options_, {{2, leader.port()}});
  node.Hear(NodeId(2), Term(5), raft::Heartbeat{});
  auto put = node.Put("k", "v");
  ASSERT_TRUE(leader.WaitFor([](const auto& frame) { return frame.has_forward(); }));
  EXPECT_EQ(Await(std::move(put)).status.code(), Code::kOutcomeUnknown);
}

// The leader says what a read has to wait for, and then this node hears no more.
TEST_F(RaftLoopTest, AConfirmedReadExpires) {
  options_.request_timeout = seconds(1);
  SilentPeer leader(NodeId(2));
  LoopNode node(dir_, 3, options_, {{2, leader.port()}});
  node.Hear(NodeId(2), Term(5), raft::Heartbeat{});
  auto read = node.Read();
  uint64_t token = 0;
  ASSERT_TRUE(leader.WaitFor([&token](const auto& frame) {
    token = frame.read_index_request().token();
    return frame.has_read_index_request();
  }));
  node.Hear(NodeId(2), Term(5), raft::ReadIndexResponse{token, Index(100)});
  EXPECT_EQ(Await(std::move(read)), store::ErrTimeout());
  EXPECT_EQ(node.loop().status().reads, 1u) << "it was confirmed";
}

// All that waited for a leader would be more than a link takes at once.
TEST_F(RaftLoopTest, WritesAreForwardedInPieces) {
  options_.request_timeout = seconds(5);
  SilentPeer leader(NodeId(2));
  LoopNode node(dir_, 3, options_, {{2, leader.port()}});
  std::vector<std::future<store::ApplyResult>> puts;
  for (int i = 0; i < 4; ++i) puts.push_back(node.Put("k", std::string(700 << 10, 'v')));
  node.Hear(NodeId(2), Term(5), raft::Heartbeat{});
  std::set<std::string> seen;
  ASSERT_TRUE(leader.WaitFor([&seen](const auto& frame) {
    EXPECT_LE(frame.forward().payloads_size(), 2);
    seen.insert(frame.forward().payloads().begin(), frame.forward().payloads().end());
    return seen.size() == 4;
  }));
}

// A peer's mistake, or another version's command, must not end up in everyone's log.
TEST_F(RaftLoopTest, AForwardedWriteThatNobodyCanApplyIsNotProposed) {
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Put("k", "v1")).status.ok());
  using store::CommandType;
  const auto encode = [](CommandType type, const std::string& body) {
    return store::EncodeCommand(type, 1, {}, body);
  };
  etcdserverpb::PutRequest put;
  put.set_key("forwarded");
  etcdserverpb::TxnRequest twice;
  *twice.add_success()->mutable_request_put() = put;
  *twice.add_success()->mutable_request_put() = put;
  peer::v1::FrameBatch batch;
  auto* forward = batch.add_frames()->mutable_forward();
  forward->add_payloads("not a command");
  for (const auto type :
       {CommandType::kPut, CommandType::kDeleteRange, CommandType::kTxn, CommandType::kCompact,
        CommandType::kMemberAttributes, CommandType::kAlarm, CommandType::kSessionLimits}) {
    forward->add_payloads(encode(type, "\xff"));
  }
  forward->add_payloads(encode(CommandType::kPut, ""));  // no key
  forward->add_payloads(encode(CommandType::kTxn, twice.SerializeAsString()));
  forward->add_payloads(encode(CommandType::kPut, put.SerializeAsString()));
  node.loop().OnPeerBatch(NodeId(2), std::move(batch));
  ASSERT_TRUE(Await(node.Put("k", "v2")).status.ok());
  EXPECT_EQ(node.store().revision(), 4);  // the two of this node's own, and the one good one
}

TEST_F(RaftLoopTest, AForwardedWriteThatTheLeaderRefusesHasFailed) {
  SilentPeer leader(NodeId(2));
  LoopNode node(dir_, 3, options_, {{2, leader.port()}});
  node.Hear(NodeId(2), Term(5), raft::Heartbeat{});
  auto put = node.Put("k", "v");
  uint64_t id = 0;
  ASSERT_TRUE(leader.WaitFor([&](const auto& frame) {
    if (frame.has_forward()) id = store::CommandRequestId(frame.forward().payloads(0));
    return frame.has_forward();
  }));
  peer::v1::FrameBatch batch;
  auto* refused = batch.add_frames()->mutable_forward_refused();
  refused->add_request_ids(id);
  refused->set_reason(peer::v1::ForwardRefused::INVALID);
  node.loop().OnPeerBatch(NodeId(2), std::move(batch));
  EXPECT_EQ(Await(std::move(put)).status.code(), Code::kInvalidArgument);
}

// Holds up the apply thread once the write that it gates is applied, until it is opened.
class Gate {
 public:
  explicit Gate(LoopNode* node) {
    etcdserverpb::PutRequest put;
    put.set_key("gate");
    node->loop().Write(
        store::EncodeCommand(store::CommandType::kPut, 1, {}, put.SerializeAsString()),
        [this](store::ApplyResult&&) {
          held_.set_value();
          open_.get_future().wait();
        });
    Await(held_.get_future());
  }
  void Open() { open_.set_value(); }

 private:
  std::promise<void> held_;
  std::promise<void> open_;
};

// Starts a put, and returns when it is committed.
std::future<store::ApplyResult> Commit(LoopNode* node) {
  const Index before = node->store().applied().position.index;
  auto put = node->Put("k", "v2");
  const auto deadline = RaftLoop::Clock::now() + kPatience;
  while (node->loop().status().commit <= before && RaftLoop::Clock::now() < deadline) {
    std::this_thread::yield();
  }
  return put;
}

TEST_F(RaftLoopTest, AReadWaitsUntilWhatIsCommittedIsApplied) {
  LoopNode node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Put("k", "v1")).status.ok());
  Gate gate(&node);
  auto behind = Commit(&node);
  auto read = node.Read();
  EXPECT_EQ(read.wait_for(milliseconds(100)), std::future_status::timeout);
  gate.Open();
  EXPECT_TRUE(Await(std::move(read)).ok());
  etcdserverpb::RangeRequest range;
  range.set_key("k");
  EXPECT_EQ(node.store().Range(range).value().kvs(0).value(), "v2");
  EXPECT_TRUE(Await(std::move(behind)).status.ok());
}

TEST_F(RaftLoopTest, AReadThatWaitsForApplyIsRefusedAtTheStop) {
  LoopNode node(dir_, 1, options_);
  Gate gate(&node);
  auto behind = Commit(&node);
  auto read = node.Read();
  const auto deadline = RaftLoop::Clock::now() + kPatience;
  while (node.loop().status().reads == 0 && RaftLoop::Clock::now() < deadline) {
    std::this_thread::yield();
  }
  node.loop().Stop();
  EXPECT_EQ(Await(std::move(read)), store::ErrStopped());
  gate.Open();
  EXPECT_TRUE(Await(std::move(behind)).status.ok());
}

TEST_F(RaftLoopTest, AReadsOwnTimeoutIsKept) {
  LoopNode node(dir_, 3, options_);
  EXPECT_EQ(Await(node.Read(milliseconds(20))), store::ErrNoLeader());
}

TEST_F(RaftLoopTest, TooManyRequestsAreRefusedAtOnceAndRoomComesBack) {
  options_.inflight_max = 2;
  auto node = std::make_unique<LoopNode>(dir_, 3, options_);
  auto first = node->Put("a", "v");
  auto second = node->Put("b", "v");
  EXPECT_EQ(Await(node->Put("c", "v")).status, store::ErrTooManyRequests());
  EXPECT_EQ(Await(node->Read()), store::ErrTooManyRequests());
  node = nullptr;
  // Never proposed anywhere: definitely not applied, and said so.
  EXPECT_EQ(Await(std::move(first)).status, store::ErrStopped());
  EXPECT_EQ(Await(std::move(second)).status.code(), Code::kUnavailable);
}

TEST_F(RaftLoopTest, AfterStopEverythingIsRefused) {
  LoopNode node(dir_, 1, options_);
  node.loop().Stop();
  EXPECT_EQ(Await(node.Put("k", "v")).status, store::ErrStopped());
  EXPECT_EQ(Await(node.Read()), store::ErrStopped());
}

TEST_F(RaftLoopTest, OnlyALeaderHandsLeadershipOn) {
  LoopNode node(dir_, 3, options_);
  auto promise = std::make_shared<std::promise<Status>>();
  node.loop().TransferLeadership(NodeId(2), [promise](Status s) { promise->set_value(s); });
  EXPECT_EQ(Await(promise->get_future()), store::ErrNotLeader());
}

class NoEntries final : public raft::LogReader {
 public:
  Status Read(Index, Index, uint64_t, std::vector<Entry>*) const override { return Status::Ok(); }
};

// The loop of node 1 among `voters`, not started.
class UnstartedLoop {
 public:
  explicit UnstartedLoop(std::set<NodeId> voters)
      : loop_({}, MakeCore(std::move(voters)), nullptr, nullptr, {}) {}
  RaftLoop& loop() { return loop_; }

 private:
  std::unique_ptr<raft::Core> MakeCore(std::set<NodeId> voters) const {
    raft::Options options;
    options.id = NodeId(1);
    raft::PersistentState state;
    state.membership.voters = std::move(voters);
    state.first = Index(1);
    return std::make_unique<raft::Core>(options, state, entries_, Rng(1));
  }

  const NoEntries entries_;
  RaftLoop loop_;
};

// The edges serve a moment before the loop does: a voter's clients were told that it was a learner,
// which no client tries again.
TEST(RaftLoopStartTest, AVoterIsNoLearnerBeforeTheLoopIsStarted) {
  EXPECT_TRUE(UnstartedLoop({NodeId(1), NodeId(2)}).loop().votes());
  EXPECT_FALSE(UnstartedLoop({NodeId(2)}).loop().votes());
}

// A start that fails after the edges have begun to serve must not leave anybody waiting.
TEST(RaftLoopStartTest, WhatCameBeforeALoopThatIsNeverStartedIsAnswered) {
  Status written;
  Status read;
  Status changed;
  int answers = 0;
  UnstartedLoop unstarted({NodeId(1), NodeId(2)});
  RaftLoop& loop = unstarted.loop();
  loop.Write(store::EncodeCommand(store::CommandType::kPut, 1, {}, ""),
             [&](store::ApplyResult&& result) {
               ++answers;
               written = result.status;
             });
  loop.ReadBarrier([&](Status status) {
    ++answers;
    read = std::move(status);
  });
  loop.ChangeMembers([](const ClusterView&) { return StatusOr<Membership>(Membership()); },
                     [&](StatusOr<Membership> result) {
                       ++answers;
                       changed = result.status();
                     });
  loop.Stop();
  loop.Stop();
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(written, store::ErrStopped());
  EXPECT_EQ(read, store::ErrStopped());
  EXPECT_FALSE(changed.ok());
}

}  // namespace
}  // namespace raftkv::server
