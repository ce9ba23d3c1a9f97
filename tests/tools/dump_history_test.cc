// raftkv-dump history.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class DumpHistoryTest : public DumpTest {
 protected:
  // The records of a history, by type.
  std::map<std::string, std::vector<json>> History(const std::string& key) {
    const ProgramResult result = Dump({"history", key, "-o", "jsonl"});
    EXPECT_EQ(result.exit_code, kExitFine) << result.out << result.err;
    std::map<std::string, std::vector<json>> records;
    for (const json& record : Lines(result.out)) records[record["type"]].push_back(record);
    return records;
  }
};

TEST_F(DumpHistoryTest, EveryVersionAndTheEntryThatMadeIt) {
  MakeNode();
  Crash();
  const auto before = Snapshot(directory_);
  const ProgramResult text = Dump({"history", "a", "--values"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("history.txt", text.out);
  const auto records = History("a");
  const std::vector<json>& versions = records.at("version");
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[0]["revision"], 2);
  EXPECT_EQ(versions[0]["by"]["index"], 3);
  EXPECT_EQ(versions[1]["revision"], 5);
  EXPECT_EQ(versions[1]["create_revision"], 2);
  EXPECT_EQ(versions[1]["version"], 2);
  EXPECT_EQ(versions[1]["by"]["index"], 7);
  EXPECT_EQ(versions[1]["by"]["term"], 2);
  EXPECT_EQ(versions[1]["by"]["time_ms"], kTimeMs + 7);
  EXPECT_EQ(versions[1]["certain"], true);
  // The transaction's other branch would have deleted it.
  ASSERT_EQ(records.at("entry").size(), 1u);
  EXPECT_EQ(records.at("entry")[0]["index"], 8);
  EXPECT_EQ(Snapshot(directory_), before);
}

TEST_F(DumpHistoryTest, TransactionsRangesAndSessions) {
  MakeNode();
  node_->Append({Put(10, 2, std::string("b\0\xff", 3), "two\nlines", {"0123456789abcdef", 1})},
                {Term(2), NodeId(0xa2), Index(10)});
  Crash();
  const auto by_txn = History("txn");
  ASSERT_EQ(by_txn.at("version").size(), 1u);
  EXPECT_EQ(by_txn.at("version")[0]["by"]["op"], "txn");
  EXPECT_EQ(by_txn.at("version")[0]["by"]["index"], 8);
  const auto deleted = History("c/x");
  ASSERT_EQ(deleted.at("version").size(), 2u);
  EXPECT_EQ(deleted.at("version")[1]["deleted"], true);
  EXPECT_EQ(deleted.at("version")[1]["by"]["index"], 9);
  const ProgramResult result = Dump({"history", "--hex-input", "6200ff", "-o", "jsonl"});
  ASSERT_EQ(result.exit_code, kExitFine) << result.err;
  const std::vector<json> lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 4u) << result.out;
  EXPECT_EQ(lines[1]["by"]["session"], "0123456789abcdef");
  EXPECT_EQ(lines[1]["by"]["sequence"], 1);
  EXPECT_EQ(lines[2]["index"], 10);
  EXPECT_EQ(lines[2]["effect"], "a retry, not applied again");
  EXPECT_TRUE(History("nothing").count("version") == 0);
}

TEST_F(DumpHistoryTest, WhereTheLogWasCutItSaysWhatItDoesNotKnow) {
  MakeNode();
  node_->FlushAll();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(6), Term(2)}, {}};
  cut.cut->membership.voters = {NodeId(0xa1)};
  node_->Append(cut);
  Crash();
  const ProgramResult text = Dump({"history", "a"});
  EXPECT_THAT(text.out, HasSubstr("(cut: entries before 7 are gone)"));
  EXPECT_THAT(text.out, HasSubstr("put 1 bytes  its entry was cut off the log"));
  EXPECT_THAT(text.out, HasSubstr("put 1 bytes  probably by index 7 term 2, put"));
  const auto versions = History("a").at("version");
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[0]["by"], nullptr);
  EXPECT_EQ(versions[1]["certain"], false);
}

TEST_F(DumpHistoryTest, ARetryIsNotTakenForWhatItRepeats) {
  node_ = std::make_unique<Node>(directory_);
  const store::SessionRef session{"client", 1};
  const std::vector<Entry> entries = {Noop(1, 1), Put(2, 1, "k", "v", session)};
  node_->Append(entries, {Term(1), NodeId(0xa1), Index(2)});
  node_->Apply(entries);
  node_->FlushAll();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(2), Term(1)}, {}};
  cut.cut->membership.voters = {NodeId(0xa1)};
  node_->Append(cut);
  node_->Append({Put(3, 1, "k", "v", session)}, {Term(1), NodeId(0xa1), Index(3)});
  Crash();
  const auto records = History("k");
  ASSERT_EQ(records.at("version").size(), 1u);
  EXPECT_EQ(records.at("version")[0]["by"], nullptr);
  ASSERT_EQ(records.at("entry").size(), 1u);
  EXPECT_EQ(records.at("entry")[0]["index"], 3);
}

TEST_F(DumpHistoryTest, CompactionIsSaid) {
  MakeNode();
  node_->Append({Compact(10, 2, 6)}, {Term(2), NodeId(0xa2), Index(10)});
  node_->Apply({Compact(10, 2, 6)});
  while (node_->kv()->CompactStep(100)) {
  }
  node_->FlushAll();
  Crash();
  const ProgramResult text = Dump({"history", "a"});
  EXPECT_THAT(text.out, HasSubstr("compacted at revision 6"));
  // The log still has what compaction took.
  EXPECT_THAT(text.out, HasSubstr("revision 2  create 2 version 1  put 1 bytes  by index 3"));
}

}  // namespace
}  // namespace raftkv::tools::dump
