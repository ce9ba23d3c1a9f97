// raftkv-dump verify: each condition of its checks by itself, where dump_verify_test.cc has the
// checks.
#include <filesystem>
#include <fstream>

#include "common/membership_codec.h"
#include "store/command.h"
#include "tools/dump_verify_fixture.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// --- Files ------------------------------------------------------------------------------------

TEST_F(DumpVerifyTest, WhatCurrentMayHold) {
  MakeFlushedNode();
  const std::string path = directory_ + "/db/CURRENT";
  const std::string whole = ReadFile(path);
  for (const std::string& bad : {whole.substr(0, whole.size() - 1), std::string("OPTIONS-1\n"),
                                 std::string("MANIFEST-999999\n"), std::string()}) {
    std::ofstream(path) << bad;
    ExpectProblem("files", bad.starts_with("MANIFEST-9") ? "it names MANIFEST-999999"
                                                         : "it does not hold the name of a MANIF");
  }
  fs::remove(path);
  ExpectProblem("files", "there is no CURRENT");
  std::ofstream(path) << whole;
  ExpectWhole({"verify"});
}

TEST_F(DumpVerifyTest, FilesThatAStartWritesAnew) {
  MakeFlushedNode();
  Crash();
  std::ofstream(directory_ + "/db/IDENTITY", std::ios::trunc);
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().filename().string().starts_with("OPTIONS-")) fs::remove(file.path());
  }
  ExpectWhole({"verify"});
  const std::string notes = Dump({"verify"}).out;
  EXPECT_THAT(notes, HasSubstr("note: files: RocksDB's name for this database is not there"));
  EXPECT_THAT(notes, HasSubstr("note: files: there is no OPTIONS file"));
  fs::create_directory(directory_ + "/member");
  ExpectProblem("files", "it is not a file");
}

TEST_F(DumpVerifyTest, DamageInTheWalHasItsPlaceAndIsSaidOnce) {
  MakeNode();
  for (uint64_t i = 10; i < 12; ++i) {
    node_->Append({Put(i, 2, "k", "v")}, {Term(2), NodeId(0xa2), Index(9)});
  }
  Crash();
  FlipByte(NewestWal(), 40, 1);
  const std::string out = Dump({"verify"}).out;
  EXPECT_THAT(out,
              HasSubstr("where: db/" + fs::path(NewestWal()).filename().string() + ", offset 0\n"));
  EXPECT_THAT(out, Not(HasSubstr(": start: ")));
}

// --- Tables that are not in use ---------------------------------------------------------------

class DumpVerifyUnusedTest : public DumpVerifyTest {
 protected:
  // The newest table of `family` after three more entries and a commit, put beside a database that
  // knows of none of that, or only that a later term has begun.
  void AddLaterTable(const std::string& family, bool later_term = false) {
    MakeFlushedNode();
    Crash();
    const std::string older = temp_.path() + "/older";
    fs::copy(directory_, older, fs::copy_options::recursive);
    node_->Open();
    AppendAndApply({Put(10, 2, "k", "1"), Put(11, 2, "k", "2"), Put(12, 2, "k", "3")});
    node_->FlushAll();
    std::vector<rocksdb::LiveFileMetaData> tables;
    node_->engine()->db()->GetLiveFilesMetaData(&tables);
    std::string newest;
    for (const auto& table : tables) {
      if (table.column_family_name == family) newest = std::max(newest, table.relative_filename);
    }
    const std::string table = directory_ + "/db/" + newest;
    if (later_term) Node(older, Node::kReopen).Append({}, {Term(3), NodeId(), Index(8)});
    fs::copy_file(table, older + "/db/000999.sst");
    Crash();
    fs::remove_all(directory_);
    fs::rename(older, directory_);
  }
};

TEST_F(DumpVerifyUnusedTest, LaterEntries) {
  AddLaterTable("raft_log");
  ExpectProblem("tables", "it holds log entries up to index 12, but the log ends at 9");
}

// Those that were given up for a later term.
TEST_F(DumpVerifyUnusedTest, EntriesOfAnOlderTerm) {
  AddLaterTable("raft_log", /*later_term=*/true);
  ExpectWhole({"verify"});
}

TEST_F(DumpVerifyUnusedTest, ALaterHardState) {
  AddLaterTable("raft_meta");
  ExpectProblem("tables", "it holds a hard state of term 2, committed up to 12");
}

TEST_F(DumpVerifyUnusedTest, ALaterState) {
  AddLaterTable("kv");
  ExpectProblem("tables", "it holds state that was applied up to index 12");
}

TEST_F(DumpVerifyUnusedTest, AHalfWrittenOne) {
  MakeFlushedNode();
  Crash();
  std::ofstream(directory_ + "/db/000999.sst") << "half of a table";
  ExpectWhole({"verify", "--deep"});
  EXPECT_THAT(Dump({"verify", "--deep"}).out,
              HasSubstr("the table is not in use and can't be read"));
}

// --- The log ----------------------------------------------------------------------------------

TEST_F(DumpVerifyTest, RequestsThatDoNotParse) {
  MakeFlushedNode();
  Crash();
  for (const auto type :
       {store::CommandType::kPut, store::CommandType::kDeleteRange, store::CommandType::kTxn,
        store::CommandType::kCompact, store::CommandType::kMemberAttributes,
        store::CommandType::kAlarm, store::CommandType::kSessionLimits}) {
    node_->Open();
    node_->Overwrite(Log(), wal::LogKey(Index(8)), [type](std::string* record) {
      *record = wal::EncodeEntry(
          {Index(8), Term(2), EntryKind::kCommand,
           std::make_shared<const std::string>(store::EncodeCommand(type, 1, {}, "\xff\xff"))});
    });
    ExpectProblem("log", "the request in the command does not parse");
  }
}

TEST_F(DumpVerifyTest, AKeyThatIsNoIndex) {
  MakeFlushedNode();
  node_->Add(Log(), "zzz", "?");
  ExpectProblem("log", "raft_log holds a key that is not an index");
}

TEST_F(DumpVerifyTest, AnEntryOfAnOlderTermThanTheLogsStart) {
  MakeFlushedNode();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(6), Term(2)}, {}};
  node_->Append(cut);
  node_->Overwrite(Log(), wal::LogKey(Index(7)),
                   [](std::string* record) { *record = wal::EncodeEntry(Noop(7, 1)); });
  ExpectProblem("log", "the entry is of term 1, the one before it of term 2");
}

TEST_F(DumpVerifyTest, ALogThatWasCutWhereTheStateEnds) {
  MakeFlushedNode();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(9), Term(2)}, {}};
  node_->Append(cut);
  Crash();
  ExpectWhole({"verify"});
}

TEST_F(DumpVerifyTest, AConfigurationThatIsNotAppliedYet) {
  MakeFlushedNode();
  node_->Append({Config(10, 2)}, {Term(2), NodeId(0xa2), Index(9)});
  Crash();
  ExpectWhole({"verify"});
}

TEST_F(DumpVerifyTest, AConfigurationThatTheLogsStartHas) {
  MakeNode();
  AppendAndApply({Config(10, 2), Noop(11, 2)});
  raft::AppendTask cut;
  const Entry config = Config(10, 2);
  const Membership at_start = DecodeMembership(config.bytes()).value();
  cut.cut = raft::LogStart{{Index(10), Term(2)}, at_start};
  node_->Append(cut);
  Crash();
  ExpectWhole({"verify"});
}

// --- Versions ---------------------------------------------------------------------------------

TEST_F(DumpVerifyTest, NumbersThatCanNotBe) {
  const std::string says = "these can't all be right";
  MakeFlushedNode();
  PutData("a", {2, 0}, {.create_revision = 2, .version = 0, .value = "1"});
  ExpectProblem("versions", says);
  node_->Open();
  PutData("a", {2, 0}, {.create_revision = 1, .version = 1, .value = "1"});
  ExpectProblem("versions", says);
}

// Its neighbours are not measured by it.
TEST_F(DumpVerifyTest, ADamagedVersionIsSaidOnce) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::DataKey("a", {2, 0}), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("versions", "its checksum is wrong");
  EXPECT_THAT(Dump({"verify"}).out, HasSubstr("BAD, 1 problem(s): versions"));
}

TEST_F(DumpVerifyTest, RevisionsWithoutAChange) {
  MakeFlushedNode();
  ChangeApplied([](store::AppliedRecord* applied) { applied->revision = 9; });
  ExpectProblem("revisions", "no change is in the index for revision 8 to 9");
}

TEST_F(DumpVerifyTest, RevisionsThatARestoreRaised) {
  MakeFlushedNode();
  ChangeApplied([](store::AppliedRecord* applied) { applied->revision = applied->bumped_to = 9; });
  Crash();
  ExpectWhole({"verify"});
}

// --- Sessions, members ------------------------------------------------------------------------

constexpr char kClient[] = "0123456789abcdef";

TEST_F(DumpVerifyTest, ASessionWithoutANumber) {
  MakeFlushedNode();
  const std::string key = store::SessionKey(kClient);
  node_->Overwrite(Kv(), key, [&](std::string* record) {
    store::SessionRecord session = store::DecodeSessionRecord(key, *record).value();
    session.sequence = 0;
    *record = store::EncodeSessionRecord(key, session);
  });
  ExpectProblem("sessions", "its sequence is 0");
}

TEST_F(DumpVerifyTest, ADamagedSessionIsSaidOnce) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::SessionKey(kClient), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("sessions", "its checksum is wrong");
  EXPECT_THAT(Dump({"verify"}).out, HasSubstr("BAD, 1 problem(s): sessions"));
}

TEST_F(DumpVerifyTest, ADamagedTimeOfASession) {
  MakeFlushedNode();
  node_->Overwrite(Kv(), store::SessionTimeKey(kTimeMs + 4, kClient),
                   [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("sessions", "its checksum is wrong");
}

TEST_F(DumpVerifyTest, AnAnswerThatTheLogDoesNotMake) {
  MakeFlushedNode();
  const std::string key = store::SessionKey(kClient);
  node_->Overwrite(Kv(), key, [&](std::string* record) {
    store::SessionRecord session = store::DecodeSessionRecord(key, *record).value();
    session.sequence = 7;
    *record = store::EncodeSessionRecord(key, session);
  });
  Crash();
  ExpectWhole({"verify"});
  node_->Open();
  ExpectProblem("replay", "the record is another than the one that the log makes", true);
}

TEST_F(DumpVerifyTest, OneRecordTooMany) {
  MakeFlushedNode();
  Crash();
  for (const std::string& key : {store::AppliedKey() + "2", store::ConfigKey() + "2"}) {
    node_->Open();
    node_->Add(Kv(), key, "?");
    ExpectProblem("kv", "no record of this version of raftkv has such a key");
    node_->Open();
    node_->Remove(Kv(), key);
    Crash();
  }
}

TEST_F(DumpVerifyTest, MembersAndAlarmsThatCanNotBeRead) {
  MakeNode();
  AppendAndApply({Alarm(10, 2)});
  const std::string member = store::MemberKey(NodeId(0xa1));
  node_->Overwrite(Kv(), member, [&](std::string* record) {
    *record = store::EncodeMemberRecord(member, "\xff\xff");
  });
  node_->Overwrite(Kv(), store::AlarmKey(NodeId(0xa2), 1), [](std::string* r) { r->back() ^= 1; });
  ExpectProblem("cluster", "the record holds no member");
  ExpectProblem("cluster", "its checksum is wrong");
}

TEST_F(DumpVerifyTest, ARemovedMembersAlarm) {
  MakeNode();
  AppendAndApply({Config(10, 2)});
  const std::string key = store::AlarmKey(NodeId(0xa2), 1);
  node_->Add(Kv(), key, store::EncodeAlarmRecord(key));
  ExpectProblem("cluster", "member a2 was removed, but its alarm is still there");
}

// --- Tables -----------------------------------------------------------------------------------

// A block hides the rest of its kind, and no gap is made of that.
TEST_F(DumpVerifyTest, ABlockThatCanNotBeRead) {
  MakeFlushedNode();
  std::vector<Entry> entries;
  for (uint64_t i = 10; i < 400; ++i) {
    entries.push_back(Put(i, 2, "k" + std::to_string(i), "value " + std::to_string(i * 7919)));
  }
  AppendAndApply(entries);
  std::vector<rocksdb::LiveFileMetaData> tables;
  node_->engine()->db()->GetLiveFilesMetaData(&tables);
  Crash();
  std::string largest;
  uint64_t bytes = 0;
  for (const auto& table : tables) {
    if (table.column_family_name != "kv" || table.size < bytes) continue;
    largest = directory_ + "/db/" + table.relative_filename;
    bytes = table.size;
  }
  FlipByte(largest, static_cast<off_t>(bytes / 2), 1);
  ExpectProblem("kv", "can't all be read");
  EXPECT_THAT(Dump({"verify"}).out, Not(HasSubstr("no change is in the index")));
}

TEST_F(DumpVerifyTest, ATableThatGrew) {
  MakeFlushedNode();
  std::vector<rocksdb::LiveFileMetaData> tables;
  node_->engine()->db()->GetLiveFilesMetaData(&tables);
  Crash();
  const std::string path = directory_ + "/db/" + tables[0].relative_filename;
  const std::string whole = ReadFile(path);
  std::ofstream(path, std::ios::binary) << "x" << whole;
  const ProgramResult result = Dump({"verify", "--deep"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: tables: "));
}

}  // namespace
}  // namespace raftkv::tools::dump
