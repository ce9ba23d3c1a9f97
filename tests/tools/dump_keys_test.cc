// raftkv-dump keys.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/mvcc.h"
#include "tools/dump_fixture.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

TEST_F(DumpTest, KeysAsTheyWereFlushed) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"keys", "--values"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("keys.txt", text.out);
  const ProgramResult lines = Dump({"keys", "-o", "jsonl", "--values", "--prefix", "b"});
  EXPECT_EQ(lines.exit_code, kExitFine);
  ExpectGolden("keys_prefix.jsonl", lines.out);
  EXPECT_EQ(Dump({"keys", "-o", "jsonl", "--values", "--hex-input", "--prefix", "6200"}).out,
            lines.out);
}

TEST_F(DumpTest, KeysWithoutValues) {
  MakeNode();
  Crash();
  EXPECT_THAT(Dump({"keys"}).out, HasSubstr("\"a\" (1 bytes)  create 2 mod 2 version 1\n"));
  const json key = Lines(Dump({"keys", "-o", "jsonl", "--prefix", "b"}).out)[1];
  EXPECT_FALSE(key.contains("value"));
  EXPECT_EQ(key["value_bytes"], 9);
}

TEST_F(DumpTest, KeysInARange) {
  MakeNode();
  Crash();
  const auto keys = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"keys", "-o", "jsonl"});
    std::vector<std::string> found;
    for (const json& line : Lines(Dump(arguments).out)) {
      if (line["type"] == "key") found.push_back(*FromBase64(line["key"].get<std::string>()));
    }
    return found;
  };
  const std::string b("b\0\xff", 3);
  EXPECT_EQ(keys({}), (std::vector<std::string>{"a", b, "c/x"}));
  EXPECT_EQ(keys({"--range", "a", "c/x"}), (std::vector<std::string>{"a", b}));
  EXPECT_EQ(keys({"--range", "b", "c/y"}), (std::vector<std::string>{b, "c/x"}));
  EXPECT_EQ(keys({"--range", "b", ""}), (std::vector<std::string>{b, "c/x"}));
  EXPECT_EQ(keys({"--range", "", "b"}), std::vector<std::string>{"a"});
  EXPECT_EQ(keys({"--range", "6200ff", "6200ff00", "--hex-input"}), std::vector<std::string>{b});
  EXPECT_EQ(keys({"--range", "b", "a"}), std::vector<std::string>{});
  EXPECT_EQ(keys({"--limit", "2"}), (std::vector<std::string>{"a", b}));
  EXPECT_EQ(keys({"--limit", "0"}), std::vector<std::string>{});
  EXPECT_EQ(Dump({"keys", "--range", "a"}).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"keys", "--range", "a", "b", "--prefix", "a"}).exit_code, kExitCouldNotRun);
}

TEST_F(DumpTest, TheHistoryOfKeys) {
  MakeNode();
  node_->FlushKv();
  Crash();
  EXPECT_EQ(Dump({"keys", "--history", "--values", "--range", "a", "b"}).out,
            "state at revision 7 of 7, applied index 9 term 2, 0 entries replayed\n"
            "\"a\" = \"2\"  create 2 mod 5 version 2\n"
            "\"a\" = \"1\"  create 2 mod 2 version 1\n"
            "2 versions\n");
  EXPECT_THAT(Dump({"keys", "--history", "--prefix", "c/"}).out,
              HasSubstr("\"c/x\" deleted  mod 7\n"
                        "\"c/x\" (30 bytes)  create 4 mod 4 version 1\n2 versions\n"));
  EXPECT_THAT(Dump({"keys", "--history", "--revision", "4", "--prefix", "c/"}).out,
              HasSubstr("\n1 versions\n"));
  EXPECT_THAT(Dump({"keys", "--history", "--limit", "3"}).out,
              HasSubstr("\n3 versions shown, as --limit says\n"));
}

TEST_F(DumpTest, KeysAtARevision) {
  MakeNode();
  Crash();
  const ProgramResult result = Dump({"keys", "--values", "--revision", "2"});
  EXPECT_EQ(result.exit_code, kExitFine) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"a\" = \"1\""));
  EXPECT_THAT(result.out, HasSubstr("1 keys\n"));
  const ProgramResult future = Dump({"keys", "--revision", "5"});
  EXPECT_EQ(future.exit_code, kExitCouldNotRun);
  EXPECT_THAT(future.err, HasSubstr("the newest revision here is 4"));
}

TEST_F(DumpTest, KeysWithTheCommittedLogReplayed) {
  MakeNode();
  Crash();
  const ProgramResult committed = Dump({"keys", "--values", "--replay"});
  EXPECT_EQ(committed.exit_code, kExitFine) << committed.err;
  ExpectGolden("keys_replay.txt", committed.out);
  const ProgramResult last = Dump({"keys", "--values", "--replay", "--through", "last"});
  EXPECT_EQ(last.exit_code, kExitFine) << last.err;
  ExpectGolden("keys_replay_last.txt", last.out);
  EXPECT_EQ(Dump({"keys", "--values", "--replay", "--through", "9"}).out, last.out);
  EXPECT_EQ(Dump({"keys", "--values", "--replay", "--through", "8"}).out, committed.out);
  EXPECT_THAT(Dump({"keys", "--values", "--replay", "--through", "last", "--revision", "4"}).out,
              HasSubstr("\"a\" = \"1\""));
}

TEST_F(DumpTest, WhatCanNotBeReplayed) {
  MakeNode();
  Crash();
  const ProgramResult beyond = Dump({"keys", "--replay", "--through", "10"});
  EXPECT_EQ(beyond.exit_code, kExitCouldNotRun);
  EXPECT_THAT(beyond.err, HasSubstr("the log ends at index 9"));
  const ProgramResult before = Dump({"keys", "--replay", "--through", "4"});
  EXPECT_EQ(before.exit_code, kExitFine) << "the log begins at 1: an older state can be made";
  EXPECT_THAT(before.out, HasSubstr("applied index 4 term 1, 4 entries replayed\n"));
  EXPECT_EQ(Dump({"keys", "--through", "9"}).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "x"}).exit_code, kExitCouldNotRun);
}

TEST_F(DumpTest, NothingOlderThanTheStateWhereTheLogWasCut) {
  MakeNode();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(2), Term(1)}, {}};
  node_->Append(cut);
  Crash();
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "5"}).exit_code, kExitFine);
  const ProgramResult before = Dump({"keys", "--replay", "--through", "4"});
  EXPECT_EQ(before.exit_code, kExitCouldNotRun);
  EXPECT_THAT(before.err, HasSubstr("the stored state is of index 5"));
}

TEST_F(DumpTest, AfterACompaction) {
  MakeNode();
  const std::vector<Entry> more = {Compact(10, 2, 5)};
  node_->Append(more, {Term(2), NodeId(0xa2), Index(10)});
  node_->Apply(more);
  node_->FlushKv();
  Crash();
  EXPECT_EQ(json::parse(Dump({"meta", "-o", "json"}).out)["applied"]["compact_revision"], 5);
  EXPECT_EQ(Dump({"keys", "--revision", "5"}).exit_code, kExitFine);
  const ProgramResult result = Dump({"keys", "--revision", "4"});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_THAT(result.err, HasSubstr("revisions before 5 have been compacted"));
}

TEST_F(DumpTest, LeavesNoScratchCopyBehind) {
  MakeNode();
  Crash();
  const std::string scratch = temp_.path() + "/scratch";
  fs::create_directory(scratch);
  EXPECT_EQ(Dump({"keys", "--replay", "--scratch-dir", scratch}).exit_code, kExitFine);
  EXPECT_TRUE(fs::is_empty(scratch));
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "99", "--scratch-dir", scratch}).exit_code,
            kExitCouldNotRun);
  EXPECT_TRUE(fs::is_empty(scratch));
  EXPECT_EQ(Dump({"keys", "--replay", "--scratch-dir", scratch + "/none"}).exit_code,
            kExitCouldNotRun);
}

TEST_F(DumpTest, ADamagedVersionHidesItsKeyAndIsReported) {
  MakeNode();
  // The newer of the two versions of "a": the older one must not take its place.
  node_->Overwrite(node_->engine()->kv().get(), store::DataKey("a", {5, 0}),
                   [](std::string* record) { record->back() ^= 1; });
  node_->FlushKv();
  Crash();
  const ProgramResult keys = Dump({"keys", "--values"});
  EXPECT_EQ(keys.exit_code, kExitProblems);
  EXPECT_THAT(keys.out, HasSubstr("PROBLEM: "));
  EXPECT_THAT(keys.out, Not(HasSubstr("\"a\" = ")));
  EXPECT_THAT(keys.out, HasSubstr("\"txn\" = "));
}

}  // namespace
}  // namespace raftkv::tools::dump
