// raftkv-dump replay.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/identity.h"
#include "store/restore.h"
#include "store/snapshot_file.h"
#include "tools/dump_fixture.h"
#include "tools/new_node.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpReplayTest : public DumpTest {
 protected:
  // The entries of MakeNode, applied one by one to another node: what it holds after each.
  struct State {
    std::map<std::string, std::string> keys;
    int64_t revision = 0;
    uint32_t hash = 0;
  };
  std::vector<State> Model() {
    const std::vector<Entry> entries = Entries();
    Node node(temp_.path() + "/model");
    std::vector<State> states(1);
    for (const Entry& entry : entries) {
      node.Apply({entry});
      states.push_back(
          {KeysOf(*node.kv()), node.kv()->revision(), node.kv()->HashAt(0, nullptr).value().hash});
    }
    return states;
  }

  ProgramResult Replay(const std::string& to, const std::string& out,
                       std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "replay", "--to", to, "--out", temp_.path() + "/" + out, "--name", "fresh", "-o", "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Dump(arguments);
  }

  void ExpectState(const std::string& out, const State& expected) {
    NewNode node(temp_.path() + "/" + out);
    EXPECT_EQ(node.Keys(), expected.keys);
    EXPECT_EQ(node.kv()->revision(), expected.revision);
    EXPECT_EQ(node.kv()->HashAt(0, nullptr).value().hash, expected.hash);
  }

  // Entries up to `index` are cut off the log.
  void Cut(uint64_t index, uint64_t term) {
    raft::AppendTask task;
    task.cut = raft::LogStart{{Index(index), Term(term)}, {}};
    task.cut->membership.voters = {NodeId(0xa1)};
    node_->Append(task);
  }

  // What the node holds now, as a backup.
  std::string BackUp(const std::string& name) {
    const std::string checkpoint = temp_.path() + "/" + name + ".checkpoint";
    EXPECT_TRUE(node_->engine()->MakeCheckpoint(checkpoint).ok());
    store::EngineOptions options;
    options.path = checkpoint;
    auto source =
        store::SnapshotSource::Open(store::Engine::OpenReadOnly(options).value(), {}, 7).value();
    const std::string path = temp_.path() + "/" + name;
    std::ofstream out(path, std::ios::binary);
    EXPECT_TRUE(store::WriteSnapshotFile(source.get(), [&](std::string_view bytes) {
                  out << bytes;
                  return Status::Ok();
                }).ok());
    return path;
  }
};

TEST_F(DumpReplayTest, EveryPointOfALogThatBeginsAtOne) {
  MakeNode();
  Crash();
  const std::vector<State> states = Model();
  const auto before = Snapshot(directory_);
  for (size_t index = 1; index < states.size(); ++index) {
    const std::string out = "at-" + std::to_string(index);
    const ProgramResult result =
        Replay("index:" + std::to_string(index), out, {"--no-bump-revision"});
    ASSERT_EQ(result.exit_code, kExitFine) << index << result.out << result.err;
    // What was flushed is of index 5.
    EXPECT_EQ(json::parse(result.out)["base"], index < 5 ? "an empty store" : "the stored state");
    ExpectState(out, states[index]);
  }
  EXPECT_EQ(Snapshot(directory_), before);
}

TEST_F(DumpReplayTest, EveryRevision) {
  MakeNode();
  Crash();
  const std::vector<State> states = Model();
  for (size_t index = 1; index < states.size(); ++index) {
    if (states[index].revision == states[index - 1].revision || index == 1) continue;
    const int64_t revision = states[index].revision;
    const std::string out = "revision-" + std::to_string(revision);
    const ProgramResult result =
        Replay("revision:" + std::to_string(revision), out, {"--no-bump-revision"});
    ASSERT_EQ(result.exit_code, kExitFine) << revision << result.out << result.err;
    EXPECT_EQ(json::parse(result.out)["index"], index);
    ExpectState(out, states[index]);
  }
}

TEST_F(DumpReplayTest, TheResultIsANodeOfANewCluster) {
  MakeNode();
  Crash();
  const ProgramResult result =
      Replay("last", "out",
             {"--initial-cluster", "fresh=http://127.0.0.1:2380,other=http://127.0.0.1:2381",
              "--initial-cluster-token", "token"});
  ASSERT_EQ(result.exit_code, kExitFine) << result.out << result.err;
  NewNode node(temp_.path() + "/out");
  EXPECT_EQ(node.identity().cluster, DeriveClusterId("token", {"fresh", "other"}));
  EXPECT_EQ(node.identity().node, DeriveNodeId("token", "fresh"));
  EXPECT_EQ(node.log().membership.voters.size(), 2u);
  EXPECT_EQ(node.kv()->revision(), 7 + store::kRevisionBump);
  const json report = json::parse(result.out);
  EXPECT_EQ(report["new_revision"], node.kv()->revision());
  // Eight entries were known to be committed.
  EXPECT_EQ(report["beyond_commit"], 1);
  EXPECT_EQ(json::parse(Replay("commit", "committed").out)["index"], 8);
}

TEST_F(DumpReplayTest, WhereTheLogWasCutABackupIsNeeded) {
  MakeNode();
  const std::string at_9 = BackUp("at-9");
  node_->FlushAll();
  Cut(4, 1);
  Crash();
  const ProgramResult without = Replay("index:7", "without");
  EXPECT_EQ(without.exit_code, kExitCouldNotRun);
  EXPECT_THAT(without.err, HasSubstr("the stored state is of index 9, revision 7"));
  EXPECT_THAT(without.err, HasSubstr("the log, which was cut, begins at index 5"));
  EXPECT_THAT(without.err, HasSubstr("--from-snapshot"));
  EXPECT_FALSE(fs::exists(temp_.path() + "/without"));
  const ProgramResult late = Replay("index:7", "late", {"--from-snapshot", at_9});
  EXPECT_EQ(late.exit_code, kExitCouldNotRun);
  EXPECT_THAT(late.err, HasSubstr("that is after the target"));

  const std::vector<State> states = Model();
  const std::vector<Entry> entries = Entries();
  const auto backup_at = [&](size_t index) {
    node_ = std::make_unique<Node>(temp_.path() + "/to-" + std::to_string(index));
    node_->Apply({entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(index)});
    std::string path = BackUp("at-" + std::to_string(index));
    Crash();
    return path;
  };
  const std::string at_5 = backup_at(5);
  const ProgramResult good =
      Replay("index:7", "good", {"--from-snapshot", at_5, "--no-bump-revision"});
  ASSERT_EQ(good.exit_code, kExitFine) << good.out << good.err;
  ExpectState("good", states[7]);
  const ProgramResult early = Replay("index:7", "early", {"--from-snapshot", backup_at(3)});
  EXPECT_EQ(early.exit_code, kExitCouldNotRun);
  EXPECT_THAT(early.err, HasSubstr("does not join it"));
}

TEST_F(DumpReplayTest, ABackupOfAnotherHistoryIsRefused) {
  MakeNode();
  Crash();
  node_ = std::make_unique<Node>(temp_.path() + "/other");
  node_->Apply({Noop(1, 1), Noop(2, 1), Noop(3, 1), Put(4, 3, "k", "of term 3")});
  const std::string backup = BackUp("other.snap");
  Crash();
  const ProgramResult result = Replay("index:7", "out", {"--from-snapshot", backup});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_THAT(result.err, HasSubstr("of another history"));
}

TEST_F(DumpReplayTest, WhatCanNotBeHad) {
  MakeNode();
  Crash();
  for (const auto& [to, what] : std::map<std::string, std::string>{
           {"7", "is not index:NUMBER"},
           {"index:", "is not index:NUMBER"},
           {"index:0", "is not index:NUMBER"},
           {"revision:x", "is not index:NUMBER"},
           {"index:10", "the log ends at index 9"},
           {"revision:8", "the log ends at index 9, which made revision 7"}}) {
    const ProgramResult result = Replay(to, "out");
    EXPECT_EQ(result.exit_code, kExitCouldNotRun) << to;
    EXPECT_THAT(result.err, HasSubstr(what));
    EXPECT_FALSE(fs::exists(temp_.path() + "/out")) << to;
  }
  fs::create_directory(temp_.path() + "/there");
  EXPECT_EQ(Replay("last", "there").exit_code, kExitCouldNotRun);
  EXPECT_EQ(Replay("last", "n1/inside").exit_code, kExitCouldNotRun);
}

}  // namespace
}  // namespace raftkv::tools::dump
