// raftkv-dump summary.
#include <filesystem>
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
