// raftkv-dump summary.
#include <filesystem>
#include <fstream>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump_fixture.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// Sizes and the number of tables and WAL files are RocksDB's business.
std::string WithoutSizes(const std::string& text) {
  return std::regex_replace(text, std::regex("[0-9.]+ [kMG]?B|[0-9]+ (tables|files|records)"), "N");
}

TEST_F(DumpTest, Summary) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  ExpectGolden("summary.txt", WithoutSizes(text.out));
  const json summary = json::parse(Dump({"summary", "-o", "json"}).out);
  EXPECT_EQ(summary["live_keys"], 3);
  EXPECT_EQ(summary["start"]["would_start"], true);
  EXPECT_EQ(summary["start"]["entries_to_replay"], 3);
  EXPECT_EQ(summary["start"]["replay_from"], 6);
  EXPECT_EQ(summary["start"]["replay_to"], 8);
  EXPECT_EQ(summary["problems"], json::array());
  uint64_t bytes = 0;
  for (const json& level : summary["column_families"][2]["levels"]) {
    bytes += level["bytes"].get<uint64_t>();
  }
  EXPECT_GT(bytes, 0u);
  EXPECT_EQ(summary["column_families"][2]["bytes"], bytes);
  EXPECT_EQ(json::parse(Dump({"summary", "--quick", "-o", "json"}).out)["live_keys"], nullptr);
}

TEST_F(DumpTest, SummaryOfADirectoryThatNeverRan) {
  node_ = std::make_unique<Node>(directory_);
  Crash();
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("log               empty\n"));
  EXPECT_THAT(text.out, HasSubstr("would start       yes, with nothing to replay\n"));
}

TEST_F(DumpTest, SummaryOfANodeThatWouldNotStart) {
  MakeNode();
  node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(4)));
  Crash();
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitProblems);
  EXPECT_THAT(text.out, HasSubstr("\nwould start       no: "));
  EXPECT_THAT(text.out, HasSubstr("PROBLEM: a node would not start: "));
  EXPECT_EQ(json::parse(Dump({"summary", "-o", "json"}).out)["start"]["would_start"], false);
}

// The log of MakeNode ends at index 9 of term 2.
TEST_F(DumpTest, SummaryOfANodeThatKeptItsPromises) {
  MakeNode();
  Crash();
  MakeFence(directory_, {Index(9), Term(2)}, Term(2), NodeId(0xa2));
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("would start       yes, after applying 3 entries from the log, "
                                  "6 to 8\n"));
  const json start = json::parse(Dump({"summary", "-o", "json"}).out)["start"];
  EXPECT_EQ(start["lost_acknowledged"], nullptr);
  EXPECT_EQ(start["hard_state_from_fence"], nullptr);
}

TEST_F(DumpTest, SummaryOfANodeThatLostWhatItAcknowledged) {
  MakeNode();
  Crash();
  MakeFence(directory_, {Index(12), Term(2)}, Term(2), NodeId(0xa2));
  const auto before = Snapshot(directory_);
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitProblems);
  EXPECT_THAT(text.out, HasSubstr("6 to 8, but can't be elected: this node acknowledged entries up "
                                  "to index 12 of term 2, but its log ends at index 9 of term 2"));
  EXPECT_THAT(text.out, HasSubstr("PROBLEM: this node acknowledged entries up to index 12"));
  const json start = json::parse(Dump({"summary", "-o", "json"}).out)["start"];
  EXPECT_EQ(start["would_start"], true);
  EXPECT_THAT(start["lost_acknowledged"], HasSubstr("index 12 of term 2"));
  EXPECT_EQ(Snapshot(directory_), before);
}

TEST_F(DumpTest, SummaryOfALoneNodeThatLostWhatItAcknowledged) {
  store::NodeIdentity identity;
  identity.cluster = ClusterId(0xc1);
  identity.node = NodeId(0xa1);
  identity.node_name = "n1";
  Membership alone;
  alone.voters = {identity.node};
  node_ = std::make_unique<Node>(directory_, identity, alone);
  node_->Append({Noop(1, 1), Put(2, 1, "a", "1")}, {Term(1), NodeId(0xa1), Index(1)});
  Crash();
  MakeFence(directory_, {Index(3), Term(1)}, Term(1), NodeId(0xa1));
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitProblems);
  EXPECT_THAT(text.out, HasSubstr("would start       no: this node acknowledged entries up to "
                                  "index 3 of term 1, but its log ends at index 2 of term 1"));
  EXPECT_THAT(text.out, HasSubstr("No other member has them"));
}

TEST_F(DumpTest, SummaryOfAVoteThatTheFenceAloneKnows) {
  MakeNode();
  Crash();
  MakeFence(directory_, {Index(9), Term(2)}, Term(3), NodeId(0xa3));
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("6 to 8; in term 3, as the fence says"));
  const json start = json::parse(Dump({"summary", "-o", "json"}).out)["start"];
  EXPECT_EQ(start["hard_state_from_fence"]["vote"], "a3");
}

TEST_F(DumpTest, SummaryOfADamagedFenceAndOfARemovedMember) {
  MakeNode();
  Crash();
  std::ofstream(directory_ + "/fence") << "damaged";
  EXPECT_THAT(Dump({"summary"}).out,
              HasSubstr("would start       no: " + directory_ + "/fence is damaged"));
  fs::remove(directory_ + "/fence");
  std::ofstream(directory_ + "/removed") << "by hand\n";
  EXPECT_THAT(Dump({"summary"}).out,
              HasSubstr("would start       no: this member was removed from its cluster"));
}

TEST_F(DumpTest, SummaryOfADirectoryThatCanNotBeOpened) {
  MakeNode();
  Crash();
  fs::remove(directory_ + "/db/CURRENT");
  const ProgramResult text = Dump({"summary"});
  EXPECT_EQ(text.exit_code, kExitProblems);
  EXPECT_THAT(text.out, HasSubstr("would start       no: the database "));
  const json summary = json::parse(Dump({"summary", "-o", "json"}).out);
  EXPECT_EQ(summary["start"]["would_start"], false);
  EXPECT_GT(summary["tables"]["files"], 0);
  EXPECT_EQ(summary["problems"].size(), 1u);
}

}  // namespace
}  // namespace raftkv::tools::dump
