// raftkv-dump verify: one broken rule at a time, and what it says of it.
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/membership_codec.h"
#include "rpc.pb.h"
#include "store/mvcc.h"
#include "tools/dump_verify_fixture.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// --- What is whole ----------------------------------------------------------------------------

TEST_F(DumpVerifyTest, AWholeDirectory) {
  MakeFlushedNode();
  Crash();
  ExpectWhole({"verify"});
  const ProgramResult deep = Dump({"verify", "--deep"});
  EXPECT_EQ(deep.exit_code, kExitFine) << deep.out << deep.err;
  EXPECT_THAT(deep.out, HasSubstr("ok: log: 9 entries, index 1 to 9\n"));
  EXPECT_THAT(deep.out, HasSubstr("ok: versions: 6 versions of keys, 3 keys alive\n"));
  EXPECT_THAT(deep.out, HasSubstr("ok: replay: the state that entries 1 to 9 make"));
  EXPECT_THAT(deep.out, HasSubstr("whole: no problems\n"));
}

TEST_F(DumpVerifyTest, ADirectoryAsACrashLeavesIt) {
  MakeNode();
  Crash();
  ExpectWhole({"verify", "--deep"});
}

TEST_F(DumpVerifyTest, ADirectoryThatNothingWasWrittenTo) {
  node_ = std::make_unique<Node>(directory_);
  Crash();
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify", "--deep"}).out, HasSubstr("no state was flushed yet"));
}

TEST_F(DumpVerifyTest, AStateThatWasCompacted) {
  MakeNode();
  AppendAndApply({Put(10, 2, "a", "3"), Delete(11, 2, "txn", ""), Compact(12, 2, 7),
                  Put(13, 2, "txn", "again")});
  Crash();
  ExpectWhole({"verify", "--deep"});  // what is to go has not gone yet
  node_->Open();
  while (node_->CompactStep()) {
  }
  node_->FlushKv();
  Crash();
  ExpectWhole({"verify", "--deep"});
  node_->Open();
  AppendAndApply({Compact(14, 2, 8)});
  while (node_->CompactStep()) {
  }
  node_->FlushKv();
  Crash();
  ExpectWhole({"verify", "--deep"});
}

TEST_F(DumpVerifyTest, AConfigurationThatWasApplied) {
  MakeNode();
  AppendAndApply({Config(10, 2), Alarm(11, 2)});
  Crash();
  ExpectWhole({"verify", "--deep"});
}

TEST_F(DumpVerifyTest, ALogThatWasCut) {
  MakeFlushedNode();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(5), Term(1)}, {}};
  node_->Append(cut);
  Crash();
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify", "--deep"}).out,
              HasSubstr("note: replay: the log begins at index 6: what came before was cut off"));
}

// --- The log ----------------------------------------------------------------------------------

TEST_F(DumpVerifyTest, MissingEntriesAndWhatComesBehindThem) {
  MakeFlushedNode();
  node_->Remove(Log(), wal::LogKey(Index(3)));
  node_->Remove(Log(), wal::LogKey(Index(4)));
  node_->Overwrite(Log(), wal::LogKey(Index(8)), [](std::string* record) { (*record)[20] ^= 1; });
  ExpectProblem("log", "entries 3 to 4 are missing");
  ExpectProblem("log", "log entry 8");
  ExpectProblem("start", "log entry 3 is missing");
}

TEST_F(DumpVerifyTest, ATermThatGoesBack) {
  MakeFlushedNode();
  node_->Overwrite(Log(), wal::LogKey(Index(8)),
                   [](std::string* record) { *record = wal::EncodeEntry(Noop(8, 1)); });
  ExpectProblem("log", "the entry is of term 1, the one before it of term 2");
}

TEST_F(DumpVerifyTest, AnEntryThatIsNoCommand) {
  MakeFlushedNode();
  node_->Overwrite(Log(), wal::LogKey(Index(8)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(8), Term(2), EntryKind::kCommand,
                                std::make_shared<const std::string>("no command")});
  });
  ExpectProblem("log", "the entry's checksum is right, but ");
}

TEST_F(DumpVerifyTest, AnEntryThatIsNoConfiguration) {
  MakeFlushedNode();
  node_->Overwrite(Log(), wal::LogKey(Index(8)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(8), Term(2), EntryKind::kConfig,
                                std::make_shared<const std::string>("no configuration")});
  });
  ExpectProblem("log", "the configuration entry: ");
}

TEST_F(DumpVerifyTest, ACommitBeyondTheLogsEnd) {
  MakeFlushedNode();
  node_->Overwrite(Meta(), std::string(wal::kHardStateKey), [](std::string* record) {
    *record = wal::EncodeHardState({Term(2), NodeId(0xa2), Index(12)});
  });
  ExpectProblem("meta", "entries up to index 12 were committed, but the log ends at 9");
}

TEST_F(DumpVerifyTest, AHardStateOfAnOlderTerm) {
  MakeFlushedNode();
  node_->Overwrite(Meta(), std::string(wal::kHardStateKey), [](std::string* record) {
    *record = wal::EncodeHardState({Term(1), NodeId(0xa2), Index(8)});
  });
  ExpectProblem("meta", "the hard state is of term 1, but the log has an entry of term 2");
}

TEST_F(DumpVerifyTest, RecordsOfRaftMeta) {
  MakeFlushedNode();
  node_->Add(Meta(), "hard_statf", "?");
  ExpectProblem("meta", "no version of raftkv this tool knows has such a record");
  node_->Open();
  node_->Remove(Meta(), "hard_statf");
  node_->Overwrite(Meta(), std::string(wal::kLogStartKey), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("meta", "the log start record is damaged");
}

// --- State and log ----------------------------------------------------------------------------

TEST_F(DumpVerifyTest, StateAheadOfTheLog) {
  MakeFlushedNode();
  node_->Remove(Log(), wal::LogKey(Index(9)));
  ExpectProblem("applied", "the state was applied up to index 9, but the log ends at 8");
  ExpectProblem("start", "the applied state is at index 9 but the log ends at 8");
}

TEST_F(DumpVerifyTest, StateBehindTheLogsStart) {
  MakeNode();  // flushed up to 5
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(6), Term(2)}, {}};
  node_->Append(cut);
  ExpectProblem("applied", "the state was applied up to index 5, but the log begins at 7");
}

TEST_F(DumpVerifyTest, NoStateAndALogThatWasCut) {
  node_ = std::make_unique<Node>(directory_);
  node_->Append({Noop(1, 1), Put(2, 1, "a", "1")}, {Term(1), NodeId(0xa1), Index(2)});
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(1), Term(1)}, {}};
  node_->Append(cut);
  ExpectProblem("applied", "there is no applied record, but the log begins at index 2");
}

TEST_F(DumpVerifyTest, StateOfAnotherLog) {
  MakeFlushedNode();
  ChangeApplied([](store::AppliedRecord* applied) { applied->position.term = Term(1); });
  ExpectProblem("applied", "up to index 9 of term 1, but in the log that is of term 2");
}

TEST_F(DumpVerifyTest, StateOfAnotherLogThatWasCutThere) {
  MakeFlushedNode();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(9), Term(2)}, {}};
  node_->Append(cut);
  ChangeApplied([](store::AppliedRecord* applied) { applied->position.term = Term(1); });
  ExpectProblem("applied", "up to index 9 of term 1, but in the log that is of term 2");
}

TEST_F(DumpVerifyTest, AFenceThatKnowsOfMore) {
  MakeFlushedNode();
  MakeFence(directory_, {Index(9), Term(2)}, Term(3), NodeId(0xa3));
  Crash();
  ExpectWhole({"verify"});
  EXPECT_THAT(Dump({"verify"}).out,
              HasSubstr("note: start: the database does not know of term 3 and the vote in it"));
  EXPECT_THAT(Dump({"verify"}).out, HasSubstr("ok: start: what a start checks of log, state and"));
  MakeFence(directory_, {Index(10), Term(2)}, Term(3), NodeId(0xa3));
  ExpectProblem("start", "this node acknowledged entries up to index 10 of term 2");
  std::ofstream(directory_ + "/fence") << "damaged";
  ExpectProblem("start", "/fence is damaged");
}

TEST_F(DumpVerifyTest, AConfigurationThatIsNotTheLogs) {
  MakeNode();
  AppendAndApply({Config(10, 2)});
  Membership other;
  other.voters = {NodeId(0xa1)};
  node_->Overwrite(Kv(), store::ConfigKey(),
                   [&](std::string* record) { *record = store::EncodeConfigRecord(other); });
  node_->FlushKv();
  ExpectProblem("applied", "but entry 10 says ");
}

// --- Versions and the index of revisions --------------------------------------------------------

TEST_F(DumpVerifyTest, ADamagedVersion) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::DataKey("a", {5, 0}), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("versions", "its checksum is wrong");
}

TEST_F(DumpVerifyTest, AVersionNumberThatDoesNotFollow) {
  MakeFlushedNode();
  PutData("a", {5, 0}, {.create_revision = 2, .version = 3, .value = "2"});
  ExpectProblem("versions",
                "it has version 3, created in revision 2, but follows revision 2, so "
                "that it should be version 2, created in 2");
}

TEST_F(DumpVerifyTest, ACreateRevisionThatDoesNotFollow) {
  MakeFlushedNode();
  PutData("a", {5, 0}, {.create_revision = 3, .version = 2, .value = "2"});
  ExpectProblem("versions", "created in revision 3, but follows revision 2");
}

TEST_F(DumpVerifyTest, AVersionThatCanNotBe) {
  MakeFlushedNode();
  PutData("a", {2, 0}, {.create_revision = 2, .version = 2, .value = "1"});
  ExpectProblem("versions",
                "version 2, created in revision 2 and modified in 2: these can't all be right");
}

TEST_F(DumpVerifyTest, DeletedTwice) {
  MakeFlushedNode();
  PutData("c/x", {4, 0}, {.tombstone = true});
  ExpectProblem("versions", "it is deleted here, and was deleted already in revision 4");
}

TEST_F(DumpVerifyTest, HistoryThatIsMissing) {
  MakeFlushedNode();
  node_->Remove(Kv(), store::DataKey("a", {2, 0}));
  node_->Remove(Kv(), store::RevisionKey({2, 0}));
  ExpectProblem("versions", "it has version 2, but the version before is not there");
  ExpectProblem("revisions", "no change is in the index for revision 2");
}

TEST_F(DumpVerifyTest, AVersionAboveTheRevision) {
  MakeFlushedNode();
  PutData("z", {9, 0}, {.create_revision = 9, .version = 1, .value = "?"});
  PutIndex("z", {9, 0}, false, {});
  ExpectProblem("versions", "is above the state's revision 7");
  ExpectProblem("revisions", "the revision index goes beyond the state's revision 7");
}

TEST_F(DumpVerifyTest, ALostVersion) {
  MakeFlushedNode();
  node_->Remove(Kv(), store::DataKey("a", {5, 0}));
  ExpectProblem("revisions", "the revision index names a version of this key that is not there");
}

TEST_F(DumpVerifyTest, AVersionWithoutAnIndexEntry) {
  MakeFlushedNode();
  // In a revision that has others, so that nothing else is missing.
  PutData("z", {7, 1}, {.create_revision = 7, .version = 1, .value = "?"});
  ExpectProblem("revisions", "this version has no entry in the revision index");
}

TEST_F(DumpVerifyTest, AnIndexEntryOfTheWrongKind) {
  MakeFlushedNode();
  PutIndex("txn", {6, 0}, /*tombstone=*/true, {});
  ExpectProblem("revisions", "the version is a value, but the revision index says a deletion");
}

TEST_F(DumpVerifyTest, AnIndexEntryThatNamesTheWrongPrevious) {
  MakeFlushedNode();
  PutIndex("a", {5, 0}, false, {3, 0});
  ExpectProblem("revisions",
                "the revision index says that it replaced revision 3, but the version "
                "before it is revision 2");
}

TEST_F(DumpVerifyTest, ADamagedIndexEntryIsNotSaidTwice) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::RevisionKey({5, 0}), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("revisions", "its checksum is wrong");
  EXPECT_THAT(Dump({"verify"}).out, Not(HasSubstr("has no entry in the revision index")));
}

TEST_F(DumpVerifyTest, AChangeOfATransactionIsMissing) {
  MakeFlushedNode();
  PutData("z", {7, 2}, {.create_revision = 7, .version = 1, .value = "?"});
  PutIndex("z", {7, 2}, false, {});
  ExpectProblem("revisions", "change 1 of revision 7 is missing, the next one there is 2");
}

TEST_F(DumpVerifyTest, WhatACompactionSaysItRemoved) {
  MakeNode();
  AppendAndApply({Compact(10, 2, 7)});
  ChangeApplied([](store::AppliedRecord* applied) { applied->compacted_to = 7; });
  ExpectProblem("versions", "a version that revision 5 replaced is still there though all up to 7");
}

TEST_F(DumpVerifyTest, ADeletionThatACompactionSaysItRemoved) {
  MakeNode();
  AppendAndApply({Put(10, 2, "d", "1"), Compact(11, 2, 8)});
  while (node_->CompactStep()) {
  }
  PutData("c/x", {7, 0}, {.tombstone = true});
  PutIndex("c/x", {7, 0}, true, {4, 0});
  node_->FlushKv();
  ExpectProblem("versions", "a deletion is still there though all before revision 8 is compacted");
}

// --- Sessions, members ------------------------------------------------------------------------

TEST_F(DumpVerifyTest, ALostSession) {
  MakeFlushedNode();
  node_->Remove(Kv(), store::SessionKey("0123456789abcdef"));
  ExpectProblem("sessions", "there are 0 sessions, but the applied record counts 1");
  ExpectProblem("sessions", "the index by time names a session that is not there");
}

TEST_F(DumpVerifyTest, ASessionThatNeverExpires) {
  MakeFlushedNode();
  node_->Remove(Kv(), store::SessionTimeKey(kTimeMs + 4, "0123456789abcdef"));
  ExpectProblem("sessions", "the session is not in the index by time");
}

TEST_F(DumpVerifyTest, ASessionOfTheFuture) {
  MakeFlushedNode();
  ChangeApplied([](store::AppliedRecord* applied) { applied->time_ms = 1000; });
  ExpectProblem("sessions", "while the state's clock stands at 1000");
}

TEST_F(DumpVerifyTest, ARemovedMemberThatLeftSomethingBehind) {
  MakeNode();
  AppendAndApply({Config(10, 2)});
  etcdserverpb::Member member;
  member.set_id(0xa2);
  const std::string key = store::MemberKey(NodeId(0xa2));
  node_->Add(Kv(), key, store::EncodeMemberRecord(key, member.SerializeAsString()));
  ExpectProblem("cluster", "member a2 was removed, but its attributes are still there");
}

TEST_F(DumpVerifyTest, AttributesOfAnotherMember) {
  MakeFlushedNode();
  etcdserverpb::Member member;
  member.set_id(0xa3);
  const std::string key = store::MemberKey(NodeId(0xa1));
  node_->Overwrite(Kv(), key, [&](std::string* record) {
    *record = store::EncodeMemberRecord(key, member.SerializeAsString());
  });
  ExpectProblem("cluster", "the record is of member a3");
}

TEST_F(DumpVerifyTest, AKindOfRecordThatThereIsNot) {
  MakeFlushedNode();
  node_->Add(Kv(), "qq", "?");
  ExpectProblem("kv", "no record of this version of raftkv has such a key");
}

TEST_F(DumpVerifyTest, ADamagedAppliedRecord) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::AppliedKey(), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("kv", "its checksum is wrong");
}

// --- Deep -------------------------------------------------------------------------------------

// Sound in itself, checksums and all, and not what the log says: only the replay can tell.
TEST_F(DumpVerifyTest, AValueThatTheLogDoesNotMake) {
  MakeFlushedNode();
  PutData("a", {5, 0}, {.create_revision = 2, .version = 2, .value = "forged"});
  Crash();
  ExpectWhole({"verify"});
  node_->Open();
  ExpectProblem("replay", "the record is another than the one that the log makes", /*deep=*/true);
}

TEST_F(DumpVerifyTest, AKeyThatTheLogDoesNotMake) {
  MakeFlushedNode();
  PutData("z", {7, 1}, {.create_revision = 7, .version = 1, .value = "forged"});
  PutIndex("z", {7, 1}, false, {});
  Crash();
  ExpectWhole({"verify"});
  node_->Open();
  ExpectProblem("replay", "the stored state has a record that its log does not make", true);
}

TEST_F(DumpVerifyTest, AnAppliedRecordThatTheLogDoesNotMake) {
  MakeFlushedNode();
  ChangeApplied([](store::AppliedRecord* applied) { ++applied->time_ms; });
  ExpectProblem("replay", "the stored state says revision 7", true);
}

// Of a log that was cut, what is left of it can still be looked for.
class DumpVerifyCutLogTest : public DumpVerifyTest {
 protected:
  // Flushed, compacted up to `compact` if not 0, and cut up to `before_first`.
  void MakeCutNode(uint64_t before_first, uint64_t term) {
    MakeFlushedNode();
    AppendAndApply({Put(10, 2, "a", "4"), Delete(11, 2, "nothing", ""), Put(12, 2, "b", "5"),
                    Put(13, 2, "a", "s", {"client", 1}), Put(14, 2, "a", "s", {"client", 1}),
                    Put(15, 2, "a", "last")});
    raft::AppendTask cut;
    cut.cut = raft::LogStart{{Index(before_first), Term(term)}, {}};
    node_->Append(cut);
  }
};

TEST_F(DumpVerifyCutLogTest, AllOfItIsThere) {
  MakeCutNode(2, 1);
  Crash();
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify", "--deep"}).out,
              HasSubstr("entries 3 to 15, all that the log still has, are in the state"));
}

TEST_F(DumpVerifyCutLogTest, AllOfItIsThereAfterACompaction) {
  MakeCutNode(2, 1);
  AppendAndApply({Compact(16, 2, 10)});
  while (node_->CompactStep()) {
  }
  node_->FlushKv();
  Crash();
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify", "--deep"}).out, HasSubstr("entries 3 to 16, all that"));
}

TEST_F(DumpVerifyCutLogTest, AValueThatIsNotTheEntrys) {
  MakeCutNode(5, 1);
  PutData("b", {9, 0}, {.create_revision = 9, .version = 1, .value = "forged"});
  ExpectProblem("replay", "the state does not have what this entry put", true);
}

TEST_F(DumpVerifyCutLogTest, AnEntryThatWasNotApplied) {
  MakeCutNode(5, 1);
  node_->Overwrite(Log(), wal::LogKey(Index(12)),
                   [](std::string* record) { *record = wal::EncodeEntry(Noop(12, 2)); });
  ExpectProblem("replay", "the state does not have what this entry put", true);
}

TEST_F(DumpVerifyTest, ADamagedBlockOfATable) {
  MakeFlushedNode();
  Crash();
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() != ".sst") continue;
    FlipByte(file.path(), 10, 1);
    const ProgramResult result = Dump({"verify", "--deep"});
    EXPECT_EQ(result.exit_code, kExitProblems) << result.out;
    EXPECT_THAT(result.out, HasSubstr("where: db/" + file.path().filename().string()));
    FlipByte(file.path(), 10, 1);
  }
  ExpectWhole({"verify", "--deep"});
}

TEST_F(DumpVerifyTest, TablesAreCheckedThoughTheDatabaseDoesNotOpen) {
  MakeFlushedNode();
  Crash();
  std::ofstream(directory_ + "/db/CURRENT") << "MANIFEST-999999\n";
  int tables = 0;
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() != ".sst") continue;
    FlipByte(file.path(), 10, 1);
    ++tables;
  }
  const ProgramResult result = Dump({"verify", "--deep"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("it names MANIFEST-999999, which is not there"));
  EXPECT_THAT(result.out, HasSubstr("BAD, " + std::to_string(tables) + " problem(s): tables: "));
}

// --- Files ------------------------------------------------------------------------------------

TEST_F(DumpVerifyTest, ATornTailIsNoted) {
  MakeNode();
  raft::AppendTask task;
  task.entries = {Put(10, 2, "k", "v")};
  node_->Append(task);
  Crash();
  const std::string wal = NewestWal();
  fs::resize_file(wal, fs::file_size(wal) - 1);
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify"}).out, HasSubstr("note: wal: the last write was cut off: "));
}

// The commit index is the second witness.
TEST_F(DumpVerifyTest, ATornTailThatTookACommittedEntry) {
  MakeNode();
  node_->Overwrite(Meta(), std::string(wal::kHardStateKey), [](std::string* record) {
    *record = wal::EncodeHardState({Term(2), NodeId(0xa2), Index(10)});
  });
  raft::AppendTask task;
  task.entries = {Put(10, 2, "k", "v")};
  node_->Append(task);
  Crash();
  const std::string wal = NewestWal();
  fs::resize_file(wal, fs::file_size(wal) - 1);
  const ProgramResult result = Dump({"verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("note: wal: the last write was cut off"));
  EXPECT_THAT(result.out,
              HasSubstr("entries up to index 10 were committed, but the log ends at 9"));
}

TEST_F(DumpVerifyTest, TheNewestWalFileIsGone) {
  MakeNode();
  node_->Append({Put(10, 2, "lost", "1")}, {Term(2), NodeId(0xa2), Index(9)});
  Crash();
  fs::remove(NewestWal());
  const ProgramResult result = Dump({"verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("a WAL file is missing in "));
}

TEST_F(DumpVerifyTest, BehindDamageInTheWalTheStateIsCheckedStill) {
  MakeNode();
  node_->Overwrite(Kv(), store::DataKey("a", {2, 0}), [](std::string* r) { r->back() ^= 1; });
  node_->FlushKv();
  for (uint64_t i = 10; i < 12; ++i) {
    node_->Append({Put(i, 2, "k", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  }
  Crash();
  FlipByte(NewestWal(), 40, 1);
  const ProgramResult result = Dump({"verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: wal: the WAL file"));
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: versions: "));
}

TEST_F(DumpVerifyTest, MarkersAndUnusedFiles) {
  MakeFlushedNode();
  Crash();
  std::ofstream(directory_ + "/removed") << "by hand\n";
  fs::remove(directory_ + "/db/IDENTITY");
  ExpectWhole({"verify"});
  const std::string notes = Dump({"verify"}).out;
  EXPECT_THAT(notes, HasSubstr("note: files: this member was removed from its cluster"));
  EXPECT_THAT(notes, HasSubstr("note: files: the marker that says"));
  EXPECT_THAT(notes, HasSubstr("note: files: RocksDB's name for this database is not there"));
}

TEST_F(DumpVerifyTest, ADeletedDatabase) {
  MakeFlushedNode();
  Crash();
  fs::remove_all(directory_ + "/db");
  EXPECT_EQ(Dump({"verify"}).exit_code, kExitCouldNotRun);
  std::ofstream(directory_ + "/member") << "n1\n";
  const ProgramResult result = Dump({"verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("its database is gone"));
}

TEST_F(DumpVerifyTest, ManyProblemsOfOneKindDoNotBuryTheOthers) {
  MakeNode();
  std::vector<Entry> entries;
  for (uint64_t i = 10; i < 60; ++i) entries.push_back(Put(i, 2, "k" + std::to_string(i), "v"));
  AppendAndApply(entries);
  for (uint64_t i = 10; i < 60; ++i) {
    node_->Overwrite(Log(), wal::LogKey(Index(i)), [](std::string* r) { r->back() ^= 1; });
  }
  node_->Remove(Kv(), store::SessionKey("0123456789abcdef"));
  Crash();
  const std::string out = Dump({"verify", "--limit", "5"}).out;
  EXPECT_THAT(out, HasSubstr("BAD, 50 problem(s): log: "));
  EXPECT_THAT(out, HasSubstr("45 of the problems are not shown"));
  EXPECT_THAT(out, HasSubstr("PROBLEM: sessions: "));
}

}  // namespace
}  // namespace raftkv::tools::dump
