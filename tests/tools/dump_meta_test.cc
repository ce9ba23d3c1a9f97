// raftkv-dump meta.
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump_fixture.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Sizes, estimates and the number of WAL files are RocksDB's business.
std::string WithoutSizes(std::string text) {
  text = std::regex_replace(
      text, std::regex("(sst_bytes|memtable_bytes|valid_bytes|bytes|records) [0-9]+"), "$1 N");
  text = std::regex_replace(text, std::regex("[0-9]{6}\\.log"), "N.log");
  return std::regex_replace(text, std::regex("(wal file [^\n]*\n)+"), "$1");
}

TEST_F(DumpTest, Meta) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"meta"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("meta.txt", WithoutSizes(text.out));

  const ProgramResult as_json = Dump({"meta", "-o", "json"});
  EXPECT_EQ(as_json.exit_code, kExitFine);
  json meta = json::parse(as_json.out);
  EXPECT_EQ(meta["node_id"], "a1");
  EXPECT_EQ(meta["cluster_id"], "c1");
  EXPECT_EQ(meta["log"]["first"], 1);
  EXPECT_EQ(meta["log"]["last"], 9);
  EXPECT_EQ(meta["log"]["last_term"], 2);
  EXPECT_EQ(meta["hard_state"]["commit"], 8);
  EXPECT_EQ(meta["hard_state"]["vote"], "a2");
  EXPECT_EQ(meta["applied"]["index"], 5);
  EXPECT_EQ(meta["applied"]["revision"], 4);
  EXPECT_EQ(meta["problems"], json::array());
  meta.erase("problems");
  EXPECT_EQ(Lines(Dump({"meta", "-o", "jsonl"}).out), std::vector<json>{meta});
  EXPECT_EQ(Dump({"meta", "--quick"}).exit_code, kExitFine);
}

TEST_F(DumpTest, MetaOfADirectoryThatNeverFlushedKeys) {
  node_ = std::make_unique<Node>(directory_);
  Crash();
  const ProgramResult result = Dump({"meta", "-o", "json"});
  EXPECT_EQ(result.exit_code, kExitFine) << result.out << result.err;
  EXPECT_EQ(json::parse(result.out)["log"]["first"], nullptr);
  const ProgramResult keys = Dump({"keys", "--replay"});
  EXPECT_EQ(keys.exit_code, kExitFine) << keys.out << keys.err;
  EXPECT_THAT(keys.out, HasSubstr("0 keys\n"));
}

TEST_F(DumpTest, ADamagedHardState) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_meta(), std::string(wal::kHardStateKey),
                   [](std::string* record) { (*record)[3] ^= 0x40; });
  Crash();
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: the hard state: "));
  EXPECT_THAT(meta.out, HasSubstr("last 9"));
}

TEST_F(DumpTest, StateThatIsAheadOfTheLog) {
  MakeNode();
  for (uint64_t index = 5; index <= 9; ++index) {
    node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(index)));
  }
  Crash();
  const ProgramResult meta = Dump({"meta", "--quick"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: committed up to 8, but the log ends at 4"));
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: applied up to 5, but the log ends at 4"));
}

TEST_F(DumpTest, StateFromAnotherLog) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(5)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(5), Term(2), EntryKind::kNoop, nullptr});
  });
  Crash();
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out,
              HasSubstr("PROBLEM: entry 5 was applied with term 1, but has term 2 in the log"));
}

}  // namespace
}  // namespace raftkv::tools::dump
