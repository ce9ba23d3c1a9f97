// The raft thread with the real log, store and apply loop around it; no network: the other members
// of a three-node cluster are simply not there.

#include "server/raft_loop.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>

#include "store/kv_errors.h"
#include "store/kv_store.h"
#include "wal/log_store.h"

namespace raftkv::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kPatience = seconds(60);

// One node on a directory of its own.
class Node {
 public:
  Node(const std::string& dir, int voters, const RaftLoopOptions& options) {
    store::EngineOptions engine_options;
    engine_options.path = dir + "/db";
    Membership membership;
    for (int i = 1; i <= voters; ++i) membership.voters.insert(NodeId(i));
    if (!std::filesystem::exists(engine_options.path)) {
      store::NodeIdentity identity;
      identity.cluster = ClusterId(1);
      identity.node = NodeId(1);
      identity.node_name = "n1";
      const Status made = store::Engine::Bootstrap(engine_options, identity,
                                                   wal::LogStore::BootstrapRecords(membership));
      EXPECT_TRUE(made.ok()) << made;
    }
    engine_ = store::Engine::Open(engine_options).value();
    log_store_ = std::make_unique<wal::LogStore>(engine_.get());
    const wal::RecoveredLog recovered = log_store_->Recover().value();
    kv_store_ = store::KvStore::Open(engine_.get(), {}).value();
    std::vector<MemberOptions> members;
    for (int i = 1; i <= voters; ++i) {
      // Port 1: nobody is there.
      members.push_back({"n" + std::to_string(i), NodeId(i), {"127.0.0.1", 1}});
    }
    transport_ = std::make_unique<Transport>(ClusterId(1), NodeId(1), members);
    apply_loop_ = std::make_unique<store::ApplyLoop>(
        kv_store_.get(), store::ApplyLoopOptions{},
        [this](Index applied, uint64_t) { loop_->OnApplied(applied); });
    raft::Options raft_options;
    raft_options.id = NodeId(1);
    raft::PersistentState state;
    state.hard_state = recovered.hard_state;
    state.membership = recovered.membership;
    state.first = recovered.first;
    state.last = recovered.last;
    state.before_first = recovered.before_first;
    state.terms = recovered.terms;
    state.applied = kv_store_->applied().position;
    loop_ = std::make_unique<RaftLoop>(
        options, std::make_unique<raft::Core>(raft_options, state, *log_store_, Rng(7)),
        transport_.get(), apply_loop_.get(), RaftLoopHooks{});
    log_writer_ = std::make_unique<wal::LogWriter>(
        engine_.get(), log_store_.get(),
        [this](std::span<raft::AppendTask> tasks) {
          for (const raft::AppendTask& task : tasks) transport_->Send(task.after_sync);
          loop_->OnAppended(tasks.back().seq);
        },
        nullptr);
    loop_->SetLogWriter(log_writer_.get());
    loop_->Start();
  }

  ~Node() {
    loop_->Stop();
    log_writer_->Stop();
    apply_loop_->Stop();
    transport_->Stop();
  }

  std::future<store::ApplyResult> Put(const std::string& key, const std::string& value,
                                      const store::SessionRef& session = {}) {
    etcdserverpb::PutRequest put;
    put.set_key(key);
    put.set_value(value);
    auto promise = std::make_shared<std::promise<store::ApplyResult>>();
    loop_->Write(store::EncodeCommand(store::CommandType::kPut, ++request_id_, session,
                                      put.SerializeAsString()),
                 [promise](store::ApplyResult&& result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  }

  std::future<Status> Read(milliseconds timeout = {}) {
    auto promise = std::make_shared<std::promise<Status>>();
    loop_->ReadBarrier([promise](Status status) { promise->set_value(std::move(status)); },
                       timeout);
    return promise->get_future();
  }

  RaftLoop& loop() { return *loop_; }
  store::KvStore& store() { return *kv_store_; }

 private:
  uint64_t request_id_ = 100;
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<wal::LogStore> log_store_;
  std::unique_ptr<store::KvStore> kv_store_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<store::ApplyLoop> apply_loop_;
  std::unique_ptr<RaftLoop> loop_;
  std::unique_ptr<wal::LogWriter> log_writer_;
};

template <typename T>
T Await(std::future<T> future) {
  EXPECT_EQ(future.wait_for(kPatience), std::future_status::ready) << "no answer came";
  return future.get();
}

class RaftLoopTest : public testing::Test {
 protected:
  RaftLoopTest() {
    std::string pattern = testing::TempDir() + "raftkv-loop-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    options_.tick = milliseconds(5);
    options_.request_timeout = seconds(30);
  }
  ~RaftLoopTest() override { std::filesystem::remove_all(dir_); }

  std::string dir_;
  RaftLoopOptions options_;
};

TEST_F(RaftLoopTest, AloneItElectsItselfAppliesAndReads) {
  Node node(dir_, 1, options_);
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
    Node node(dir_, 1, options_);
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(Await(node.Put("k" + std::to_string(i), "v")).status.ok());
    }
  }
  Node node(dir_, 1, options_);
  ASSERT_TRUE(Await(node.Read()).ok());
  etcdserverpb::RangeRequest range;
  range.set_key("k");
  range.set_range_end("l");
  EXPECT_EQ(node.store().Range(range).value().count(), 50);
}

TEST_F(RaftLoopTest, ARetriedSessionWriteAppliesOnceAndGetsTheFirstAnswer) {
  Node node(dir_, 1, options_);
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
  Node node(dir_, 3, options_);
  const store::ApplyResult result = Await(node.Put("k", "v"));
  EXPECT_EQ(result.status, store::ErrNoLeader());
  EXPECT_NE(result.status.code(), Code::kOutcomeUnknown);
  EXPECT_EQ(Await(node.Read()), store::ErrNoLeader());
}

TEST_F(RaftLoopTest, AReadsOwnTimeoutIsKept) {
  Node node(dir_, 3, options_);
  EXPECT_EQ(Await(node.Read(milliseconds(20))), store::ErrNoLeader());
}

TEST_F(RaftLoopTest, TooManyRequestsAreRefusedAtOnceAndRoomComesBack) {
  options_.inflight_max = 2;
  auto node = std::make_unique<Node>(dir_, 3, options_);
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
  Node node(dir_, 1, options_);
  node.loop().Stop();
  EXPECT_EQ(Await(node.Put("k", "v")).status, store::ErrStopped());
  EXPECT_EQ(Await(node.Read()), store::ErrStopped());
}

TEST_F(RaftLoopTest, OnlyALeaderHandsLeadershipOn) {
  Node node(dir_, 3, options_);
  auto promise = std::make_shared<std::promise<Status>>();
  node.loop().TransferLeadership(NodeId(2), [promise](Status s) { promise->set_value(s); });
  EXPECT_EQ(Await(promise->get_future()), store::ErrNotLeader());
}

}  // namespace
}  // namespace raftkv::server
