// A raft loop with the real log, store and apply loop around it, for tests; and a peer that only
// listens.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/peer_codec.h"
#include "server/peer_node.h"
#include "server/raft_loop.h"
#include "store/kv_store.h"
#include "wal/log_store.h"

namespace raftkv::server {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr auto kPatience = seconds(60);

// One node, with the id 1, on a directory of its own. The other members are at `peer_ports`, or
// nowhere.
class LoopNode {
 public:
  // With `on_event_loop` raft takes its turns there, as in a node.
  LoopNode(const std::string& dir, int voters, const RaftLoopOptions& options,
           std::map<int, int> peer_ports = {}, RaftLoopHooks hooks = {},
           bool on_event_loop = false) {
    std::filesystem::create_directories(dir);
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
    kv_store_ = store::KvStore::Open(engine_.get()).value();
    std::vector<MemberOptions> members;
    for (int i = 1; i <= voters; ++i) {
      const int port = peer_ports.contains(i) ? peer_ports[i] : 1;  // nobody is at port 1
      members.push_back(
          {"n" + std::to_string(i), NodeId(i), {"127.0.0.1", static_cast<uint16_t>(port)}});
    }
    transport_ = std::make_unique<Transport>(ClusterId(1), NodeId(1), members, event_loop_.get());
    apply_loop_ = std::make_unique<store::ApplyLoop>(
        kv_store_.get(), store::ApplyLoopOptions{},
        [this](Index applied, uint64_t) { loop_->OnApplied(applied); });
    raft::Options raft_options;
    raft_options.id = NodeId(1);
    raft_options.election_ticks = 1'000'000;  // only a sole voter elects itself, at its start
    const raft::PersistentState state =
        wal::StartingState(recovered, kv_store_->applied().position);
    loop_ = std::make_unique<RaftLoop>(
        options, std::make_unique<raft::Core>(raft_options, state, *log_store_, Rng(7)),
        transport_.get(), apply_loop_.get(), std::move(hooks));
    log_writer_ = std::make_unique<wal::LogWriter>(
        engine_.get(), log_store_.get(), /*fence=*/nullptr,
        [this](std::span<raft::AppendTask> tasks) {
          for (const raft::AppendTask& task : tasks) transport_->Send(task.after_sync);
          loop_->OnAppended(tasks.back().seq);
        },
        nullptr);
    loop_->SetLogWriter(log_writer_.get());
    loop_->Start(on_event_loop ? event_loop_.get() : nullptr);
  }

  ~LoopNode() {
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

  // Whether a put succeeds, after some that took too long perhaps: the node leads then. For tests
  // with a request timeout that a slow machine may not keep.
  bool PutsAtLast() {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      auto put = Put("k", "v");
      if (put.wait_for(kPatience) == std::future_status::ready && put.get().status.ok())
        return true;
    }
    return false;
  }

  std::future<Status> Read(milliseconds timeout = {}) {
    auto promise = std::make_shared<std::promise<Status>>();
    loop_->ReadBarrier([promise](Status status) { promise->set_value(std::move(status)); },
                       timeout);
    return promise->get_future();
  }

  // What `from` says in `term`.
  void Hear(NodeId from, Term term, raft::MessageBody body) {
    peer::v1::FrameBatch batch;
    EncodeMessage({from, NodeId(1), term, std::move(body)}, batch.add_frames());
    loop_->OnPeerBatch(from, std::move(batch));
  }

  std::future<StatusOr<Membership>> Change(ConfigChange change) {
    auto promise = std::make_shared<std::promise<StatusOr<Membership>>>();
    loop_->ChangeMembers(std::move(change),
                         [promise](StatusOr<Membership> result) { promise->set_value(result); });
    return promise->get_future();
  }

  RaftLoop& loop() { return *loop_; }
  EventLoop* event_loop() { return event_loop_.get(); }
  store::Engine& engine() { return *engine_; }
  store::KvStore& store() { return *kv_store_; }
  store::ApplyLoop& apply_loop() { return *apply_loop_; }

 private:
  uint64_t request_id_ = 100;
  RunningLoop event_loop_;
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

// A member that takes streams and answers nothing.
class SilentPeer {
 public:
  explicit SilentPeer(NodeId self) : peer_(ClusterId(1), self, Handlers()) {}

  int port() const { return peer_.port(); }
  // Waits until `wanted` is true of a frame that came.
  bool WaitFor(const std::function<bool(const peer::v1::Frame&)>& wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience,
                             [&] { return std::any_of(frames_.begin(), frames_.end(), wanted); });
  }

 private:
  PeerHandlers Handlers() {
    PeerHandlers handlers;
    handlers.on_batch = [this](NodeId, peer::v1::FrameBatch&& batch) {
      std::lock_guard lock(mutex_);
      for (auto& frame : *batch.mutable_frames()) frames_.push_back(std::move(frame));
      changed_.notify_all();
    };
    return handlers;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<peer::v1::Frame> frames_;
  ListeningPeer peer_;
};

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

}  // namespace raftkv::server
