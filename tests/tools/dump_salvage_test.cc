// raftkv-dump salvage: what it makes of damaged directories. Bit flips in all kinds of file are
// dump_damage_test.cc's; here is what can be proven, and what is said of the rest.
#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/check.h"
#include "store/engine_files.h"
#include "store/wal_file_system.h"
#include "tools/dump_fixture.h"
#include "tools/new_node.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"
#include "wal/manifest_file.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Keys = std::map<std::string, std::string>;

const Keys& Everything() {
  static const auto* keys =
      new Keys{{"a", "2"}, {std::string("b\0\xff", 3), "two\nlines"}, {"txn", "yes"}};
  return *keys;
}

class DumpSalvageTest : public DumpTest {
 protected:
  struct Result {
    int exit_code = 0;
    std::string text;  // for messages
    json salvaged;
    std::vector<std::string> problems;
    Keys keys;  // of the new node
    int64_t revision = 0;
  };

  // Also: the directory is as it was, and a node starts on what was made.
  Result Salvage() {
    const auto before = Snapshot(directory_);
    const std::string out = temp_.path() + "/out" + std::to_string(++outs_);
    const ProgramResult ran =
        Dump({"salvage", "--out", out, "--name", "fresh", "--no-bump-revision", "-o", "jsonl"});
    Result result{.exit_code = ran.exit_code, .text = ran.out + ran.err};
    EXPECT_EQ(Snapshot(directory_), before);
    for (const json& record : Lines(ran.out)) {
      if (record["type"] == "salvaged") result.salvaged = record;
      if (record["type"] == "problem") result.problems.push_back(record["what"]);
    }
    if (!result.salvaged.is_object()) return result;
    NewNode node(out);
    EXPECT_NE(node.identity().cluster, ClusterId(0xc1));
    result.keys = node.Keys();
    result.revision = node.kv()->revision();
    EXPECT_EQ(result.salvaged["keys"], result.keys.size());
    return result;
  }

  std::string Db() const { return directory_ + "/db"; }

  // The newest table of a family.
  std::string TableOf(const std::string& family) {
    std::vector<rocksdb::LiveFileMetaData> files;
    node_->engine()->db()->GetLiveFilesMetaData(&files);
    std::string newest;
    for (const auto& file : files) {
      if (file.column_family_name == family) newest = std::max(newest, file.relative_filename);
    }
    EXPECT_NE(newest, "") << family;
    return Db() + "/" + fs::path(newest).filename().string();
  }

  // While a node runs, zeros may follow.
  static uint64_t LogBytes(const std::string& wal) {
    uint64_t bytes = 0;
    RAFTKV_CHECK(store::DefaultEnv()->GetFileSize(wal, &bytes).ok(), "no WAL file " + wal);
    return bytes;
  }
  std::string NewestWal() { return store::WalFiles(Db()).value().back().path; }

  // What was cut off the log can't be applied again.
  void Cut(uint64_t index, uint64_t term) {
    raft::AppendTask task;
    task.cut = raft::LogStart{{Index(index), Term(term)}, {}};
    task.cut->membership.voters = {NodeId(0xa1)};
    node_->Append(task);
  }

  void Compact(const std::vector<rocksdb::ColumnFamilyHandle*>& families) {
    for (auto* family : families) {
      RAFTKV_CHECK(node_->engine()->db()->CompactRange({}, family, nullptr, nullptr).ok(), "merge");
    }
  }
  void CompactAll() {
    store::Engine* const engine = node_->engine();
    Compact({engine->kv().get(), engine->raft_log(), engine->raft_meta()});
  }

  // What `step` adds to the MANIFEST is lost.
  void ExpectManifestMissed(const std::function<void()>& step) {
    const auto listed = fs::file_size(OnlyFile("MANIFEST"));
    step();
    Crash();
    fs::resize_file(OnlyFile("MANIFEST"), listed);
    const Result result = Salvage();
    EXPECT_EQ(result.exit_code, kExitProblems) << result.text;
    EXPECT_EQ(result.keys, Everything());
    EXPECT_THAT(result.problems, testing::Contains(HasSubstr("its own end may have been lost")));
  }

  int outs_ = 0;
};

TEST_F(DumpSalvageTest, AWholeDirectoryLosesNothing) {
  MakeNode();
  Crash();
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys, Everything());
  EXPECT_EQ(result.salvaged["index"], 9);
  EXPECT_EQ(result.salvaged["proven"], true);
  EXPECT_EQ(result.revision, 7);
}

TEST_F(DumpSalvageTest, CurrentIsOnlyAPointer) {
  MakeNode();
  Crash();
  fs::remove(Db() + "/CURRENT");
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys, Everything());
}

TEST_F(DumpSalvageTest, ALogThatBeginsAtOneMakesUpForEveryTableOfKeys) {
  MakeNode();
  const std::string table = TableOf("kv");
  Crash();
  FlipByte(table, 40, 1);
  const Result flipped = Salvage();
  EXPECT_EQ(flipped.exit_code, kExitFine) << flipped.text;
  EXPECT_THAT(flipped.salvaged["base"].get<std::string>(), HasSubstr("an empty store"));
  EXPECT_EQ(flipped.keys, Everything());
  fs::remove(table);
  const Result gone = Salvage();
  EXPECT_EQ(gone.exit_code, kExitFine) << gone.text;
  EXPECT_EQ(gone.keys, Everything());
}

TEST_F(DumpSalvageTest, WithoutTheNewestTableTheStateBeforeItIsProven) {
  MakeNode();
  node_->FlushAll();
  const std::string newest = TableOf("kv");
  Cut(4, 1);
  Crash();
  fs::remove(newest);
  // What was flushed first is of index 5; the log goes on from there.
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_THAT(result.salvaged["base"].get<std::string>(), HasSubstr("before what is lost"));
  EXPECT_EQ(result.salvaged["replayed"], 4);
  EXPECT_EQ(result.keys, Everything());
}

TEST_F(DumpSalvageTest, WhereTheLogDoesNotGoOnTheStateIsOlder) {
  MakeNode();
  node_->FlushAll();
  const std::string newest = TableOf("kv");
  Cut(9, 2);
  Crash();
  fs::remove(newest);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_EQ(result.salvaged["index"], 5);
  EXPECT_EQ(
      result.keys,
      (Keys{{"a", "1"}, {std::string("b\0\xff", 3), "two\nlines"}, {"c/x", std::string(30, 'v')}}));
  EXPECT_THAT(result.problems,
              testing::Contains(HasSubstr("the state ends at index 5, the log begins at 10")));
}

TEST_F(DumpSalvageTest, WithoutAProvenStateWhatIsLeftOfTheKeysIsSaid) {
  MakeNode();
  const std::string older = TableOf("kv");
  node_->FlushAll();
  Cut(4, 1);
  Crash();
  fs::remove(older);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_EQ(result.salvaged["proven"], false);
  EXPECT_EQ(result.keys, (Keys{{"a", "2"}, {"txn", "yes"}}));
  EXPECT_EQ(result.revision, 7);
  EXPECT_THAT(result.problems, testing::Contains(HasSubstr(
                                   "is missing: keys from \"\" to the last may be missing, or show "
                                   "an older version, or be there though deleted")));
  EXPECT_THAT(result.problems, testing::Contains(HasSubstr("log entries 5 to 9 are intact")));
}

TEST_F(DumpSalvageTest, ALostManifestIsSaidAndTheTablesAreRead) {
  MakeNode();
  node_->FlushAll();
  Cut(9, 2);
  Crash();
  const std::string manifest = OnlyFile("MANIFEST");
  fs::resize_file(manifest, 20);
  const Result cut = Salvage();
  EXPECT_EQ(cut.exit_code, kExitProblems);
  EXPECT_EQ(cut.keys, Everything());
  EXPECT_THAT(cut.problems, testing::Contains(HasSubstr("whether tables are missing")));
  fs::remove(manifest);
  const Result gone = Salvage();
  EXPECT_EQ(gone.exit_code, kExitProblems);
  EXPECT_EQ(gone.keys, Everything());
}

// Between a table's last byte and its line in the MANIFEST a crash can come at any time.
TEST_F(DumpSalvageTest, ATableThatWasNotListedYetIsNoLoss) {
  MakeNode();
  const auto listed = fs::file_size(OnlyFile("MANIFEST"));
  node_->FlushKv();
  Crash();
  fs::resize_file(OnlyFile("MANIFEST"), listed);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys, Everything());
  EXPECT_THAT(result.salvaged["base"].get<std::string>(), HasSubstr("the stored state"));
  EXPECT_EQ(result.salvaged["replayed"], 4);
}

// Nor between the line of a merge's result and the removal of what was merged.
TEST_F(DumpSalvageTest, ATableThatWasNotRemovedYetIsNoLoss) {
  MakeNode();
  node_->FlushAll();
  node_->Append({Put(10, 3, "a", "3")}, {Term(3), NodeId(0xa1), Index(10)});
  node_->Apply({Put(10, 3, "a", "3")});
  node_->FlushAll();
  const std::string kept = temp_.path() + "/kept";
  fs::copy(Db(), kept);
  CompactAll();
  Crash();
  int back = 0;
  for (const auto& file : fs::directory_iterator(kept)) {
    const std::string name = file.path().filename();
    if (!name.ends_with(".sst") || fs::exists(Db() + "/" + name)) continue;
    fs::copy(file.path(), Db());
    ++back;
  }
  EXPECT_GE(back, 2);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys.at("a"), "3");
  EXPECT_EQ(result.salvaged["index"], 10);
}

// All of the log is cut off; a merge left nothing of it, and one of the tables that it merged, not
// that of the cut, is still there.
TEST_F(DumpSalvageTest, ATableOfWhatWasCutOffIsNoLoss) {
  MakeNode();
  node_->FlushAll();
  const std::string table = TableOf("raft_log");
  const std::string kept = temp_.path() + "/kept.sst";
  fs::copy_file(table, kept);
  Cut(9, 2);
  node_->DeleteLeftovers();
  node_->FlushAll();
  CompactAll();
  Crash();
  fs::remove(table);
  fs::copy_file(kept, table);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys, Everything());
}

TEST_F(DumpSalvageTest, TheEndOfTheManifestIsMissedWithTheWalThatItMadeObsolete) {
  MakeNode();
  ExpectManifestMissed([this] { node_->FlushAll(); });
}

TEST_F(DumpSalvageTest, TheEndOfTheManifestIsMissedWithTheLogThatItMadeObsolete) {
  MakeNode();
  ExpectManifestMissed([this] {
    node_->FlushKv();
    Cut(9, 2);
  });
}

TEST_F(DumpSalvageTest, TheEndOfTheManifestIsMissedWithTheTablesThatItMadeObsolete) {
  MakeNode();
  node_->FlushKv();
  ExpectManifestMissed([this] { Compact({node_->engine()->kv().get()}); });
}

// With any number of its last records gone: what was flushed, merged and removed after it is then
// unknown to the MANIFEST.
TEST_F(DumpSalvageTest, WhereverTheManifestEndsNothingIsLostUnsaid) {
  MakeNode();
  node_->FlushAll();
  node_->Append({Put(10, 3, "a", "3")}, {Term(3), NodeId(0xa1), Index(10)});
  node_->Apply({Put(10, 3, "a", "3")});
  node_->FlushKv();
  Cut(9, 2);
  node_->DeleteLeftovers();
  node_->FlushAll();
  CompactAll();
  node_->Append({Put(11, 3, "k", "4"), Put(12, 3, "k", "5")}, {Term(3), NodeId(0xa1), Index(11)});
  node_->FlushAll();
  node_->Apply({Put(11, 3, "k", "4")});
  node_->FlushKv();
  Crash();
  Keys all = Everything();
  all["a"] = "3";
  all["k"] = "5";
  std::vector<uint64_t> ends = {0};
  (void)wal::WalkChunks(wal::ReadManifest(Db()).value(), [&](const store::WalChunk& chunk) {
    ends.push_back(ends.back() + chunk.bytes);
  });
  EXPECT_GE(ends.size(), 20u);
  int unsaid = 0;
  for (; !ends.empty(); ends.pop_back()) {
    fs::resize_file(OnlyFile("MANIFEST"), ends.back());
    const Result result = Salvage();
    ASSERT_LE(result.exit_code, kExitProblems) << ends.back() << ": " << result.text;
    if (result.exit_code == kExitProblems) continue;
    ++unsaid;
    EXPECT_EQ(result.keys, all) << ends.back() << ": " << result.text;
  }
  EXPECT_GE(unsaid, 1);
}

TEST_F(DumpSalvageTest, BehindDamageInTheWalNothingIsApplied) {
  MakeNode();
  const std::string wal = NewestWal();
  const uint64_t before = LogBytes(wal);
  node_->Append({Put(10, 2, "k10", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  const uint64_t between = LogBytes(wal);
  node_->Append({Put(11, 2, "k11", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  node_->Append({Put(12, 2, "k12", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  Crash();
  FlipByte(wal, static_cast<off_t>(before + (between - before) / 2), 4);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_EQ(result.keys, Everything());
  EXPECT_EQ(result.salvaged["index"], 9);
  EXPECT_THAT(result.problems,
              testing::Contains(HasSubstr("2 intact records behind it, with log entries 11 to 12, "
                                          "are not applied")));
}

TEST_F(DumpSalvageTest, AWriteThatWasCutOffIsNoLoss) {
  MakeNode();
  const std::string wal = NewestWal();
  node_->Append({Put(10, 2, "k10", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  Crash();
  fs::resize_file(wal, fs::file_size(wal) - 3);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.keys, Everything());
}

TEST_F(DumpSalvageTest, DamageThatTheTablesMakeUpForIsNoLoss) {
  MakeNode();
  const std::string wal = NewestWal();
  node_->Append({Put(10, 2, "k10", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  const uint64_t first = LogBytes(wal);
  node_->Append({Put(11, 2, "k11", "v")}, {Term(2), NodeId(0xa2), Index(10)});
  // RocksDB removes the file once it is flushed, unless raft_meta still needs it.
  fs::copy_file(wal, wal + ".kept");
  node_->FlushAll();
  node_->Append({Put(12, 2, "k12", "v")}, {Term(2), NodeId(0xa2), Index(11)});
  Crash();
  ASSERT_FALSE(fs::exists(wal));
  fs::rename(wal + ".kept", wal);
  FlipByte(wal, static_cast<off_t>(first / 2), 4);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  Keys expected = Everything();
  for (const char* key : {"k10", "k11", "k12"}) expected[key] = "v";
  EXPECT_EQ(result.keys, expected) << result.text;
}

TEST_F(DumpSalvageTest, EntriesThatALostTableMayHaveReplacedAreNotApplied) {
  MakeNode();
  node_->FlushAll();
  node_->Append({Put(10, 2, "k10", "old"), Put(11, 2, "k11", "old")},
                {Term(2), NodeId(0xa2), Index(9)});
  node_->FlushAll();
  raft::AppendTask overwrite;
  overwrite.truncate_from = Index(11);
  overwrite.entries = {Put(11, 3, "k11", "new")};
  overwrite.hard_state = HardState{Term(3), NodeId(0xa2), Index(11)};
  node_->Append(overwrite);
  node_->FlushAll();
  const std::string newest = TableOf("raft_log");
  Crash();
  fs::remove(newest);
  const Result result = Salvage();
  // The entry 11 that is left is whole, and was never committed.
  EXPECT_EQ(result.exit_code, kExitProblems) << result.text;
  EXPECT_EQ(result.salvaged["index"], 10);
  EXPECT_EQ(result.keys.count("k11"), 0u);
  EXPECT_THAT(result.problems, testing::Contains(HasSubstr("a newer log entry 11 may have been")));
}

TEST_F(DumpSalvageTest, WhatTheStateHasIsNotMissedInTheLog) {
  MakeNode();
  node_->FlushAll();
  const std::string table = TableOf("raft_log");
  node_->Append({Put(10, 2, "k10", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  Crash();
  fs::remove(table);
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitFine) << result.text;
  EXPECT_EQ(result.salvaged["index"], 10);
  EXPECT_EQ(result.keys.count("k10"), 1u);
}

TEST_F(DumpSalvageTest, CommittedEntriesThatAreGoneAreSaid) {
  MakeNode();
  node_->Append({Put(10, 2, "k10", "v")}, {Term(2), NodeId(0xa2), Index(10)});
  node_->FlushAll();
  node_->Overwrite(node_->engine()->raft_meta(), std::string(wal::kHardStateKey),
                   [](std::string* record) {
                     *record = wal::EncodeHardState({Term(2), NodeId(0xa2), Index(12)});
                   });
  Crash();
  const Result result = Salvage();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.problems, testing::Contains(HasSubstr("entries up to 12 were committed, but "
                                                           "the state goes up to 10 only")));
}

}  // namespace
}  // namespace raftkv::tools::dump
