// raftkv-dump log.
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump_fixture.h"
#include "tools/support/text.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST_F(DumpTest, Log) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"log"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("log.txt", text.out);
  const ProgramResult lines = Dump({"log", "-o", "jsonl", "--values"});
  EXPECT_EQ(lines.exit_code, kExitFine);
  ExpectGolden("log.jsonl", lines.out);
  const ProgramResult as_json = Dump({"log", "-o", "json", "--values"});
  EXPECT_EQ(as_json.exit_code, kExitFine);
  EXPECT_EQ(json::parse(as_json.out).get<std::vector<json>>(), Lines(lines.out));
}

TEST_F(DumpTest, PartOfTheLog) {
  MakeNode();
  Crash();
  const std::vector<json> part =
      Lines(Dump({"log", "--from", "4", "--to", "6", "-o", "jsonl"}).out);
  ASSERT_EQ(part.size(), 4u);
  EXPECT_EQ(part[0]["index"], 4);
  EXPECT_EQ(part[2]["index"], 6);
  EXPECT_EQ(part[3]["entries"], 3);
  EXPECT_EQ(Lines(Dump({"log", "--from", "10", "-o", "jsonl"}).out)[0]["entries"], 0);
}

TEST_F(DumpTest, EntriesThatAreLookedFor) {
  MakeNode();
  Crash();
  const auto indexes = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"log", "-o", "jsonl"});
    std::vector<int> found;
    for (const json& line : Lines(Dump(arguments).out)) {
      if (line["type"] == "entry") found.push_back(line["index"].get<int>());
    }
    return found;
  };
  EXPECT_EQ(indexes({"--term", "2"}), (std::vector<int>{6, 7, 8, 9}));
  EXPECT_EQ(indexes({"--kind", "noop"}), (std::vector<int>{1, 6}));
  // Puts, and both branches of the transaction.
  EXPECT_EQ(indexes({"--key", "a"}), (std::vector<int>{3, 7, 8}));
  // In the range that is deleted.
  EXPECT_EQ(indexes({"--key", "c/x"}), (std::vector<int>{5, 9}));
  EXPECT_EQ(indexes({"--key", "c0"}), std::vector<int>{});
  EXPECT_EQ(indexes({"--key", "6200ff", "--hex-input"}), std::vector<int>{4});
  EXPECT_EQ(indexes({"--grep", "session 0123456789abcdef"}), std::vector<int>{4});
  EXPECT_EQ(indexes({"--limit", "2"}), (std::vector<int>{1, 2}));
  EXPECT_EQ(indexes({"--key", "a", "--from", "4", "--limit", "1"}), std::vector<int>{7});
  EXPECT_EQ(Dump({"log", "--kind", "puts"}).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"log", "--key", "6", "--hex-input"}).exit_code, kExitCouldNotRun);
}

TEST_F(DumpTest, TheBytesOfAnEntry) {
  MakeNode();
  const std::string record = wal::EncodeEntry(Put(3, 1, "a", "1"));
  Crash();
  EXPECT_THAT(Dump({"log", "--from", "3", "--to", "3", "--raw"}).out,
              HasSubstr("\n  " + Hex(record) + "\n"));
  const json line = Lines(Dump({"log", "--from", "3", "--raw", "-o", "jsonl"}).out)[0];
  EXPECT_EQ(line["raw"], Base64(record));
}

TEST_F(DumpTest, LogShowsConfigurationsAndAlarms) {
  node_ = std::make_unique<Node>(directory_);
  node_->Append({Noop(1, 1), Config(2, 1), Alarm(3, 1)}, {Term(1), NodeId(0xa1), Index(3)});
  Crash();
  const ProgramResult text = Dump({"log"});
  EXPECT_EQ(text.exit_code, 0) << text.out << text.err;
  EXPECT_THAT(text.out, testing::HasSubstr(
                            ": voters a1 a3, learners a4, removed a2; a1 at http://127.0.0.1:2380; "
                            "a4 at http://127.0.0.4:2380 (to be promoted)\n"));
  EXPECT_THAT(text.out, testing::HasSubstr(": alarm NOSPACE of member a2: ACTIVATE, request "));
  const std::vector<json> lines = Lines(Dump({"log", "-o", "jsonl"}).out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[1]["config"]["learners"], json::array({"a4"}));
  EXPECT_EQ(lines[1]["config"]["members"][1]["promote"], true);
  EXPECT_EQ(lines[2]["command"]["alarm"], "NOSPACE");
}

TEST_F(DumpTest, SessionLimitsAreShownInTheLogAndInTheState) {
  node_ = std::make_unique<Node>(directory_);
  const std::vector<Entry> entries = {Noop(1, 1), SessionLimits(2, 1)};
  node_->Append(entries, {Term(1), NodeId(0xa1), Index(2)});
  node_->Apply(entries);
  node_->FlushAll();
  Crash();
  EXPECT_THAT(Dump({"log"}).out,
              testing::HasSubstr(": session-limits: 50 sessions, 60000 ms each, request "));
  const json line = Lines(Dump({"log", "-o", "jsonl"}).out)[1];
  EXPECT_EQ(line["command"]["sessions_max"], 50);
  EXPECT_EQ(line["command"]["session_ttl_ms"], 60'000);
  const json meta = json::parse(Dump({"meta", "-o", "json"}).out);
  EXPECT_EQ(meta["applied"]["sessions_max"], 50);
  EXPECT_EQ(meta["applied"]["session_ttl_ms"], 60'000);
  EXPECT_THAT(Dump({"summary"}).out,
              testing::HasSubstr("sessions          0 of at most 50, each for 60000 ms\n"));
  EXPECT_EQ(Dump({"verify", "--deep"}).exit_code, 0);
}

TEST_F(DumpTest, ADamagedEntryIsReportedAndTheOthersAreShown) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(4)),
                   [](std::string* record) { (*record)[20] ^= 1; });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 4 is damaged: "));
  EXPECT_THAT(log.out, HasSubstr("index 3 "));
  EXPECT_THAT(log.out, HasSubstr("index 9 "));
  EXPECT_THAT(log.out, HasSubstr("8 entries; the log is 1 to 9"));
  EXPECT_THAT(log.err, HasSubstr("1 problem(s) found"));
  EXPECT_EQ(Dump({"log", "--from", "5"}).exit_code, kExitFine);
  EXPECT_EQ(Lines(Dump({"log", "-o", "jsonl"}).out)[3]["type"], "problem");
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: a node would not start on this log: "));
  EXPECT_EQ(Dump({"meta", "--quick"}).exit_code, kExitFine);
  EXPECT_EQ(Dump({"keys", "--replay"}).exit_code, kExitProblems);
}

TEST_F(DumpTest, AMissingEntryIsAGap) {
  MakeNode();
  node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(4)));
  node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(5)));
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entries 4 to 5 are missing\n"));
  EXPECT_THAT(log.out, HasSubstr("7 entries"));
  EXPECT_EQ(Dump({"meta"}).exit_code, kExitProblems);
}

TEST_F(DumpTest, ATermThatGoesBack) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(7)),
                   [](std::string* record) { *record = wal::EncodeEntry(Put(7, 1, "a", "2")); });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 7 has term 1, lower than term 2 before it"));
}

TEST_F(DumpTest, AnEntryWithARightChecksumThatIsNoCommand) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(7)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(7), Term(2), EntryKind::kCommand,
                                std::make_shared<const std::string>("no command")});
  });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 7 is damaged: "));
}

}  // namespace
}  // namespace raftkv::tools::dump
