// What the checker must not complain of, each a run that failed although nothing was wrong; and
// what it must.
#include "sim/checker.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/node.h"
#include "sim/seams.h"
#include "store/command.h"

namespace raftkv::sim {
namespace {

// Nodes whose messages are delivered by hand. What they do themselves they do at once.
class SimCheckerTest : public testing::Test {
 protected:
  using Filter = std::function<bool(const raft::Message&)>;

  void StartNodes(uint64_t count) {
    spdlog::set_level(spdlog::level::off);
    SeedRocksDb(1);
    for (uint64_t i = 1; i <= count; ++i) members_.voters.insert(NodeId(i));
    checker_.emplace(members_);
    for (uint64_t i = 1; i <= count; ++i) {
      nodes_.push_back(std::make_unique<SimNode>(NodeId(i), NodeOptions(), i, &*checker_));
      ASSERT_TRUE(nodes_.back()->Start(members_).ok());
      Work(nodes_.back().get());
    }
  }

  SimNode& node(uint64_t id) { return *nodes_.at(id - 1); }

  void Work(SimNode* node) {
    for (;;) {
      for (raft::Message& message : node->TakeOutbox()) on_the_way_.push_back(std::move(message));
      if (node->HasLogWork()) {
        node->WriteLog();
      } else if (node->HasReports()) {
        node->Report();
      } else if (node->HasApplyWork()) {
        node->Apply();
      } else {
        return;
      }
    }
  }

  // Those that pass, and those that follow from them; the others stay on the way.
  void Deliver(const Filter& filter) {
    for (;;) {
      const auto next = std::find_if(on_the_way_.begin(), on_the_way_.end(), filter);
      if (next == on_the_way_.end()) return;
      raft::Message message = std::move(*next);
      on_the_way_.erase(next);
      SimNode* const to = &node(message.to.value());
      to->Step(std::move(message));
      Work(to);
    }
  }

  Membership members_;
  std::optional<Checker> checker_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::deque<raft::Message> on_the_way_;
};

// A candidate that hears of its votes late begins to lead when a leader of a later term has
// committed an entry.
TEST_F(SimCheckerTest, ALeaderOfAnEarlierTermComesLate) {
  StartNodes(3);
  node(1).Campaign();
  Work(&node(1));
  Deliver([](const raft::Message&) { return true; });
  ASSERT_TRUE(node(1).TransferLeadership(NodeId(2)).ok());
  Work(&node(1));
  // Node 2 asks for votes in term 2 and is not heard of any more; nor does it hear.
  const auto is_for_two = [](const raft::Message& message) { return message.to == NodeId(2); };
  Deliver([](const raft::Message& message) {
    return std::holds_alternative<raft::TimeoutNow>(message.body);
  });
  Deliver([&](const raft::Message& message) { return !is_for_two(message); });
  node(3).Campaign();
  Work(&node(3));
  Deliver([&](const raft::Message& message) { return !is_for_two(message); });
  ASSERT_EQ(node(3).core().role(), raft::Role::kLeader);
  ASSERT_EQ(node(3).core().commit(), node(3).core().last_index());
  Deliver([](const raft::Message& message) {
    return message.to == NodeId(2) && message.term == Term(2);
  });
  EXPECT_EQ(node(2).core().role(), raft::Role::kLeader);
  EXPECT_EQ(node(2).core().term(), Term(2));
}

// A node that lost the end of its WAL, but not its tables, finds that out by itself.
TEST_F(SimCheckerTest, ADamagedNodeMayFindItsStateAheadOfItsLog) {
  StartNodes(1);
  node(1).FlushKv();
  ASSERT_FALSE(node(1).core().applied().none());
  node(1).Crash(CrashKind::kProcess);
  checker_->OnDamaged(NodeId(1));
  SimDisk& disk = node(1).disk();
  disk.SyncEverything();
  for (const std::string& path : disk.Files()) {
    if (path.ends_with(".log")) disk.LoseTail(path, 0);
  }
  const Status status = node(1).Start(members_);
  EXPECT_EQ(status.code(), Code::kCorruption) << status.message();
  EXPECT_NE(status.message().find("but the log ends at"), std::string::npos) << status.message();
}

// A read error must not pass for records that are not there.
TEST_F(SimCheckerTest, AStateThatCanNotBeReadHasNoHash) {
  StartNodes(1);
  // Sessions for more than one block.
  for (int i = 0; i < 300; ++i) {
    etcdserverpb::PutRequest put;
    put.set_key("k");
    put.set_value(std::to_string(i));
    const std::string command = store::EncodeCommand(
        store::CommandType::kPut, 1, {"client-" + std::to_string(i), 1}, put.SerializeAsString());
    ASSERT_TRUE(node(1).Write(1, command, /*now_ms=*/1000).ok());
    Work(&node(1));
  }
  node(1).FlushKv();
  bool failed = false;
  node(1).disk().SetFaultHook([&failed](DiskOp op, const std::string& path) {
    if (op != DiskOp::kRead || !path.ends_with(".sst") || failed) return DiskResult::kOk;
    failed = true;
    return DiskResult::kIoError;
  });
  const auto hash = node(1).HashRecords();
  ASSERT_TRUE(failed);
  EXPECT_FALSE(hash.ok());
  EXPECT_TRUE(node(1).HashRecords().ok());
}

// Something that a node's disk is said to have stored.
class SimCheckerSaysNoTest : public SimCheckerTest {
 protected:
  void SetUp() override {
    StartNodes(3);
    node(1).Campaign();
    Work(&node(1));
    Deliver([](const raft::Message&) { return true; });
    ASSERT_EQ(checker_->committed(), Index(1));
  }

  std::string Store(uint64_t id, const raft::AppendTask& task) {
    checker_->OnWriting(node(id), {task});
    return Complaint([&] { checker_->OnSynced(node(id), Status::Ok()); });
  }

  std::string Complaint(const std::function<void()>& run) {
    try {
      run();
    } catch (const Violation& violation) {
      return violation.what();
    }
    return "";
  }

  static Entry At(uint64_t index, uint64_t term, const std::string& payload) {
    return {Index(index), Term(term), EntryKind::kCommand,
            std::make_shared<const std::string>(payload)};
  }
};

TEST_F(SimCheckerSaysNoTest, ACommittedEntryIsRemoved) {
  raft::AppendTask task;
  task.truncate_from = Index(1);
  EXPECT_EQ(Store(2, task), "node 2: removes the committed entry 1@1");
}

// A follower of an older leader, whose write comes late, may drop what a later leader has committed
// on other nodes by then.
TEST_F(SimCheckerSaysNoTest, NotWhereAnOlderLeaderRemovesIt) {
  raft::AppendTask task;
  task.truncate_from = Index(1);
  task.hard_state = HardState{};
  Checker* const checker = &*checker_;
  node(3).Crash(CrashKind::kProcess);
  checker->OnDamaged(NodeId(3));
  raft::AppendTask stored;
  stored.entries = {{Index(1), Term(1), EntryKind::kNoop, nullptr}};
  EXPECT_EQ(Store(3, stored), "");
  EXPECT_EQ(Store(3, task), "");
}

TEST_F(SimCheckerSaysNoTest, TwoEntriesOfOneTermAtOneIndex) {
  raft::AppendTask task;
  task.entries = {At(2, 1, "a")};
  EXPECT_EQ(Store(1, task), "");
  EXPECT_EQ(Store(2, task), "");
  task.entries = {At(2, 1, "b")};
  EXPECT_EQ(Store(3, task),
            "node 3: stores another entry, or behind another, than elsewhere as 2@1");
}

TEST_F(SimCheckerSaysNoTest, TheSameEntryBehindAnother) {
  raft::AppendTask task;
  task.hard_state = HardState{Term(3), NodeId(1), Index(0)};
  task.entries = {At(2, 1, "a"), At(3, 3, "c")};
  EXPECT_EQ(Store(1, task), "");
  task.entries = {At(2, 2, "b"), At(3, 3, "c")};
  EXPECT_EQ(Store(2, task),
            "node 2: stores another entry, or behind another, than elsewhere as 3@3");
}

TEST_F(SimCheckerSaysNoTest, AnAcknowledgementInATermThatIsNotOnDisk) {
  raft::Message message;
  message.from = NodeId(2);
  message.to = NodeId(1);
  message.term = Term(2);
  message.body = raft::AppendResponse{.match = Index(1)};
  EXPECT_NE(Complaint([&] {
              checker_->OnSend(node(2), message);
            }).find("acknowledged in term 2, on disk is term 1"),
            std::string::npos);
}

}  // namespace
}  // namespace raftkv::sim
