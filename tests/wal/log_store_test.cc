// Recovery of the log: what it returns, and all that it must refuse.
#include "wal/log_store.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "common/membership_codec.h"
#include "common/sealed_record.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

using store::Engine;

// Writes what it is told to, well-formed or not, past all of LogStore's own checks.
class LogStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(BootstrapNode(dir_.Sub("db")).ok());
    Reopen();
  }

  void Reopen() {
    engine_.reset();
    auto engine = ScanAndOpen(dir_.Sub("db"));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = std::move(*engine);
  }

  void PutRaw(const std::string& key, const std::string& record) {
    ASSERT_TRUE(engine_->db()->Put({}, engine_->raft_log(), key, record).ok());
  }
  void PutEntry(uint64_t index, uint64_t term, const std::string& payload = "payload") {
    PutRaw(LogKey(Index(index)), EncodeEntry(MakeEntry(index, term, payload)));
  }
  void DeleteEntry(uint64_t index) {
    ASSERT_TRUE(engine_->db()->Delete({}, engine_->raft_log(), LogKey(Index(index))).ok());
  }
  void PutMeta(std::string_view key, const std::string& record) {
    ASSERT_TRUE(engine_->db()->Put({}, engine_->raft_meta(), std::string(key), record).ok());
  }
  void PutHardState(uint64_t term, uint64_t commit = 0) {
    PutMeta(kHardStateKey, EncodeHardState({Term(term), NodeId(2), Index(commit)}));
  }

  // Entries 1..10: terms 1 1 1 2 2 2 2 5 5 5.
  void PutGoodLog() {
    const uint64_t terms[] = {1, 1, 1, 2, 2, 2, 2, 5, 5, 5};
    for (uint64_t index = 1; index <= 10; ++index) PutEntry(index, terms[index - 1]);
    PutHardState(5, 7);
  }

  StatusOr<RecoveredLog> Recover() { return LogStore(engine_.get()).Recover(); }

  void ExpectRefused(const std::string& says, Code code = Code::kCorruption) {
    const auto log = Recover();
    ASSERT_FALSE(log.ok());
    EXPECT_EQ(log.status().code(), code) << log.status();
    EXPECT_NE(log.status().message().find(says), std::string::npos) << log.status();
  }

  Status Write(LogStore* log, const raft::AppendTask& task) {
    rocksdb::WriteBatch batch;
    RAFTKV_RETURN_IF_ERROR(log->AddToBatch(task, &batch));
    return store::FromRocksDb(engine_->db()->Write({}, &batch), "write");
  }

  TempDir dir_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(LogStoreTest, ANodeThatNeverRanHasAnEmptyLog) {
  const auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->hard_state, HardState{});
  EXPECT_EQ(log->first, Index(1));
  EXPECT_EQ(log->last, Index(0));
  EXPECT_EQ(log->before_first, LogPosition{});
  EXPECT_TRUE(log->terms.empty());
  EXPECT_EQ(log->membership.voters, (std::set<NodeId>{NodeId(1), NodeId(2), NodeId(3)}));
}

TEST_F(LogStoreTest, TheBaseMembershipIsReadWithoutTheLog) {
  PutGoodLog();
  DeleteEntry(3);
  EXPECT_FALSE(Recover().ok());
  const auto base = LogStore(engine_.get()).BaseMembership();
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->voters, (std::set<NodeId>{NodeId(1), NodeId(2), NodeId(3)}));
}

TEST_F(LogStoreTest, RecoversTermsAsRunsAndCountsBytes) {
  PutGoodLog();
  Reopen();
  const auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->first, Index(1));
  EXPECT_EQ(log->last, Index(10));
  EXPECT_EQ(log->hard_state, (HardState{Term(5), NodeId(2), Index(7)}));
  EXPECT_EQ(log->terms, (std::vector<raft::TermRun>{
                            {Index(1), Term(1)}, {Index(4), Term(2)}, {Index(8), Term(5)}}));
  EXPECT_EQ(log->bytes, 10 * std::string("payload").size());
}

TEST_F(LogStoreTest, ACutLogBeginsAtItsDurableStart) {
  PutGoodLog();
  PutMeta(kLogStartKey, EncodeLogStart({Index(4), Term(2)}));
  DeleteEntry(2);  // what is below the start may be there in part
  const auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->before_first, (LogPosition{Index(4), Term(2)}));
  EXPECT_EQ(log->first, Index(5));
  EXPECT_EQ(log->last, Index(10));
  EXPECT_EQ(log->terms, (std::vector<raft::TermRun>{{Index(5), Term(2)}, {Index(8), Term(5)}}));
}

TEST_F(LogStoreTest, ALogCutToNothingKeepsItsPosition) {
  PutMeta(kLogStartKey, EncodeLogStart({Index(40), Term(3)}));
  PutHardState(3, 40);
  const auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->first, Index(41));
  EXPECT_EQ(log->last, Index(40));
}

TEST_F(LogStoreTest, AGapIsRefused) {
  PutGoodLog();
  DeleteEntry(6);
  ExpectRefused("log entry 6 is missing, the next one there is 7");
}

TEST_F(LogStoreTest, AMissingFirstEntryIsRefused) {
  PutGoodLog();
  DeleteEntry(1);
  ExpectRefused("log entry 1 is missing, the next one there is 2");
}

TEST_F(LogStoreTest, AMissingEntryAtTheStartOfACutLogIsRefused) {
  PutGoodLog();
  PutMeta(kLogStartKey, EncodeLogStart({Index(4), Term(2)}));
  DeleteEntry(5);
  ExpectRefused("log entry 5 is missing");
}

TEST_F(LogStoreTest, ALogThatEndsBelowItsCommitIsRefused) {
  PutGoodLog();
  for (uint64_t index = 7; index <= 10; ++index) DeleteEntry(index);
  ExpectRefused("the log ends at index 6, but entries up to 7 were committed");
}

TEST_F(LogStoreTest, ATermThatGoesDownIsRefused) {
  PutGoodLog();
  PutEntry(9, 4);
  ExpectRefused("log entry 9 is of term 4, the one before of term 5");
}

TEST_F(LogStoreTest, ATermBelowThatOfTheLogsStartIsRefused) {
  PutGoodLog();
  PutMeta(kLogStartKey, EncodeLogStart({Index(4), Term(3)}));
  ExpectRefused("log entry 5 is of term 2, the one before of term 3");
}

TEST_F(LogStoreTest, EveryFlippedBitIsRefused) {
  PutGoodLog();
  const std::string record = EncodeEntry(MakeEntry(6, 2, "payload"));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string flipped = record;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    PutRaw(LogKey(Index(6)), flipped);
    ExpectRefused("log entry 6");
  }
}

TEST_F(LogStoreTest, AnEntryUnderAnothersIndexIsRefused) {
  PutGoodLog();
  PutRaw(LogKey(Index(6)), EncodeEntry(MakeEntry(5, 2, "payload")));
  ExpectRefused("log entry 6 is damaged");
}

TEST_F(LogStoreTest, AKeyThatIsNoIndexIsRefused) {
  PutGoodLog();
  PutRaw(LogKey(Index(6)) + "x", "whatever");
  ExpectRefused("no log index");
}

TEST_F(LogStoreTest, AHardStateBehindTheLogIsRefused) {
  PutGoodLog();
  PutHardState(4);
  ExpectRefused("the hard state is of term 4, the last log entry of term 5");
}

TEST_F(LogStoreTest, MissingOrDamagedMetaRecordsAreRefused) {
  PutGoodLog();
  for (const std::string_view key : {kHardStateKey, kMembershipKey, kLogStartKey}) {
    std::string record;
    ASSERT_TRUE(engine_->db()->Get({}, engine_->raft_meta(), std::string(key), &record).ok());
    ASSERT_TRUE(engine_->db()->Delete({}, engine_->raft_meta(), std::string(key)).ok());
    ExpectRefused("record");
    std::string damaged = record;
    damaged[3] = static_cast<char>(damaged[3] ^ 4);
    PutMeta(key, damaged);
    ExpectRefused("record is damaged");
    PutMeta(key, record);
    ASSERT_TRUE(Recover().ok());
  }
}

TEST_F(LogStoreTest, AnEntryOfANewerVersionIsRefusedAsThat) {
  PutGoodLog();
  std::string record = EncodeEntry(MakeEntry(6, 2, "payload"));
  record.resize(record.size() - kEntrySealBytes);
  record[0] = kEntryVersion + 1;
  Seal(LogKey(Index(6)), &record);
  PutRaw(LogKey(Index(6)), record);
  ExpectRefused("format version 2", Code::kFailedPrecondition);
}

TEST_F(LogStoreTest, ReadsStretchesWithinTheLimit) {
  PutGoodLog();
  const LogStore log(engine_.get());
  std::vector<Entry> out;
  ASSERT_TRUE(log.Read(Index(3), Index(6), UINT64_MAX, &out).ok());
  ASSERT_EQ(out.size(), 4u);
  EXPECT_EQ(out.front().position(), (LogPosition{Index(3), Term(1)}));
  EXPECT_EQ(out.back().position(), (LogPosition{Index(6), Term(2)}));
  EXPECT_EQ(out.back().bytes(), "payload");

  out.clear();
  const uint64_t two = 2 * EntryBytes(MakeEntry(1, 1, "payload"));
  ASSERT_TRUE(log.Read(Index(1), Index(10), two, &out).ok());
  EXPECT_EQ(out.size(), 2u);
  out.clear();
  ASSERT_TRUE(log.Read(Index(1), Index(10), 1, &out).ok());
  EXPECT_EQ(out.size(), 1u);  // never none
  out.clear();
  ASSERT_TRUE(log.Read(Index(4), Index(3), 100, &out).ok());
  EXPECT_TRUE(out.empty());
}

TEST_F(LogStoreTest, ReadingWhatIsMissingOrDamagedFails) {
  PutGoodLog();
  const LogStore log(engine_.get());
  std::vector<Entry> out;
  EXPECT_EQ(log.Read(Index(9), Index(11), UINT64_MAX, &out).code(), Code::kCorruption);
  DeleteEntry(5);
  EXPECT_EQ(log.Read(Index(4), Index(6), UINT64_MAX, &out).code(), Code::kCorruption);
  EXPECT_EQ(log.Read(Index(5), Index(6), UINT64_MAX, &out).code(), Code::kCorruption);
  PutRaw(LogKey(Index(5)), "junk");
  EXPECT_EQ(log.Read(Index(5), Index(6), UINT64_MAX, &out).code(), Code::kCorruption);
}

TEST_F(LogStoreTest, ATruncationLeavesNothingOfTheOldTail) {
  PutGoodLog();
  LogStore log(engine_.get());
  ASSERT_TRUE(log.Recover().ok());
  raft::AppendTask task;
  task.hard_state = HardState{Term(6), NodeId(3), Index(7)};
  task.truncate_from = Index(8);
  task.entries = {MakeEntry(8, 6, "new")};
  ASSERT_TRUE(Write(&log, task).ok());
  auto recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->last, Index(8));
  EXPECT_EQ(recovered->terms.back(), (raft::TermRun{Index(8), Term(6)}));

  // Several in one batch, each of them counting on the one before.
  rocksdb::WriteBatch batch;
  raft::AppendTask longer;
  longer.entries = {MakeEntry(9, 6, "a"), MakeEntry(10, 6, "b"), MakeEntry(11, 6, "c")};
  ASSERT_TRUE(log.AddToBatch(longer, &batch).ok());
  raft::AppendTask cut;
  cut.hard_state = HardState{Term(7), NodeId(0), Index(8)};
  cut.truncate_from = Index(9);
  cut.entries = {MakeEntry(9, 7, "z")};
  ASSERT_TRUE(log.AddToBatch(cut, &batch).ok());
  ASSERT_TRUE(engine_->db()->Write({}, &batch).ok());
  Reopen();
  recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->last, Index(9));
  EXPECT_EQ(recovered->terms.back(), (raft::TermRun{Index(9), Term(7)}));
}

Membership Voters(std::set<uint64_t> ids) {
  Membership membership;
  for (const uint64_t id : ids) membership.voters.insert(NodeId(id));
  return membership;
}

TEST_F(LogStoreTest, ConfigurationsInTheLogAreFound) {
  PutGoodLog();
  for (const uint64_t index : {3u, 8u}) {
    Entry entry = MakeEntry(index, index == 3 ? 1 : 5, EncodeMembership(Voters({1, index})));
    entry.kind = EntryKind::kConfig;
    PutRaw(LogKey(Index(index)), EncodeEntry(entry));
  }
  auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->membership, Voters({1, 2, 3}));
  EXPECT_EQ(log->configs, (std::vector<raft::ConfigEntry>{{Index(3), Voters({1, 3})},
                                                          {Index(8), Voters({1, 8})}}));
  PutMeta(kLogStartKey, EncodeLogStart({Index(4), Term(2)}));
  log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->configs, (std::vector<raft::ConfigEntry>{{Index(8), Voters({1, 8})}}));
}

TEST_F(LogStoreTest, AConfigurationThatIsMalformedOrNewerIsRefused) {
  PutGoodLog();
  Entry entry = MakeEntry(5, 2, EncodeMembership(Voters({1})) + "x");
  entry.kind = EntryKind::kConfig;
  PutRaw(LogKey(Index(5)), EncodeEntry(entry));
  ExpectRefused("log entry 5 holds a configuration that is malformed");
  entry.payload = std::make_shared<const std::string>("\x03");
  PutRaw(LogKey(Index(5)), EncodeEntry(entry));
  ExpectRefused("log entry 5: a membership has format version 3", Code::kFailedPrecondition);
}

// Indexes of what lies in raft_log, whether or not it belongs to the log.
std::vector<uint64_t> Stored(Engine* engine) {
  std::vector<uint64_t> indexes;
  const std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator({}, engine->raft_log()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    indexes.push_back(ParseLogKey(it->key().ToStringView())->value());
  }
  return indexes;
}

TEST_F(LogStoreTest, ACutMovesTheStartAndDeletesAfterwards) {
  PutGoodLog();
  LogStore log(engine_.get());
  ASSERT_TRUE(log.Recover().ok());
  EXPECT_FALSE(log.HasLeftovers());
  raft::AppendTask task;
  task.cut = raft::LogStart{{Index(4), Term(2)}, Voters({4, 5})};
  task.entries = {MakeEntry(11, 5, "after the cut")};
  ASSERT_TRUE(Write(&log, task).ok());
  EXPECT_EQ(Stored(engine_.get()).size(), 11u);
  EXPECT_TRUE(log.HasLeftovers());
  while (log.HasLeftovers()) ASSERT_TRUE(log.DeleteLeftovers().ok());
  EXPECT_EQ(Stored(engine_.get()), (std::vector<uint64_t>{5, 6, 7, 8, 9, 10, 11}));
  Reopen();
  const auto recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->before_first, (LogPosition{Index(4), Term(2)}));
  EXPECT_EQ(recovered->membership, Voters({4, 5}));
  EXPECT_EQ(recovered->last, Index(11));
}

TEST_F(LogStoreTest, WhatACrashKeptFromBeingDeletedIsDeletedAfterTheStart) {
  PutGoodLog();
  PutMeta(kLogStartKey, EncodeLogStart({Index(7), Term(2)}));
  Reopen();
  LogStore log(engine_.get());
  ASSERT_TRUE(log.Recover().ok());
  EXPECT_TRUE(log.HasLeftovers());
  while (log.HasLeftovers()) ASSERT_TRUE(log.DeleteLeftovers().ok());
  EXPECT_EQ(Stored(engine_.get()), (std::vector<uint64_t>{8, 9, 10}));
}

TEST_F(LogStoreTest, WholeTablesBelowTheStartAreRemoved) {
  for (uint64_t first = 1; first < 400; first += 100) {
    for (uint64_t i = first; i < first + 100; ++i) PutEntry(i, 1, std::string(1000, 'x'));
    PutHardState(1);
    rocksdb::CompactRangeOptions to_the_bottom;
    to_the_bottom.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    const std::string begin = LogKey(Index(first)), end = LogKey(Index(first + 99));
    const rocksdb::Slice from(begin), to(end);
    ASSERT_TRUE(engine_->db()->CompactRange(to_the_bottom, engine_->raft_log(), &from, &to).ok());
  }
  const auto tables = [this] {
    return engine_->IntProperty(engine_->raft_log(), "rocksdb.live-sst-files-size");
  };
  const uint64_t before = tables();
  ASSERT_GT(before, 0u);
  LogStore log(engine_.get());
  ASSERT_TRUE(log.Recover().ok());
  raft::AppendTask task;
  task.cut = raft::LogStart{{Index(350), Term(1)}, Voters({1})};
  ASSERT_TRUE(Write(&log, task).ok());
  int steps = 0;
  for (; log.HasLeftovers(); ++steps) ASSERT_TRUE(log.DeleteLeftovers().ok());
  EXPECT_EQ(steps, 5);  // the range, three tables, and that there is no fourth
  EXPECT_LT(tables(), before / 2);
  const auto recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->last, Index(400));
}

// Before, inside, at and behind the log's end.
TEST_F(LogStoreTest, ASnapshotTakesThePlaceOfTheLog) {
  for (const uint64_t at : {5u, 10u, 500u}) {
    SCOPED_TRACE(at);
    engine_.reset();
    std::filesystem::remove_all(dir_.Sub("db"));
    ASSERT_TRUE(BootstrapNode(dir_.Sub("db")).ok());
    Reopen();
    PutGoodLog();
    PutHardState(5, 3);
    const auto staged = engine_->StageKv({MakeKvTable(dir_.Sub("table"), {{"who", "snapshot"}})});
    ASSERT_TRUE(staged.ok()) << staged.status();
    LogStore log(engine_.get());
    ASSERT_TRUE(log.Recover().ok());
    raft::AppendTask task;
    task.hard_state = HardState{Term(6), NodeId(), Index(at)};
    task.install = raft::SnapshotMeta{{Index(at), Term(6)}, Voters({7, 8}), *staged};
    task.entries = {MakeEntry(at + 1, 6, "first after it")};
    ASSERT_TRUE(Write(&log, task).ok());
    for (int restart = 0; restart < 2; ++restart) {
      const auto recovered = Recover();
      ASSERT_TRUE(recovered.ok()) << recovered.status();
      EXPECT_EQ(recovered->before_first, (LogPosition{Index(at), Term(6)}));
      EXPECT_EQ(recovered->membership, Voters({7, 8}));
      EXPECT_EQ(recovered->last, Index(at + 1));
      EXPECT_EQ(recovered->terms, (std::vector<raft::TermRun>{{Index(at + 1), Term(6)}}));
      Reopen();
      EXPECT_EQ(*engine_->GetFlushedKv("who"), "snapshot");
    }
    LogStore again(engine_.get());
    ASSERT_TRUE(again.Recover().ok());
    while (again.HasLeftovers()) ASSERT_TRUE(again.DeleteLeftovers().ok());
    EXPECT_EQ(Stored(engine_.get()), (std::vector<uint64_t>{at + 1}));
  }
}

TEST_F(LogStoreTest, ARestoredNodeBeginsWhereItIsTold) {
  engine_.reset();
  std::filesystem::remove_all(dir_.Sub("db"));
  ASSERT_TRUE(Engine::Bootstrap(TestOptions(dir_.Sub("db")), TestIdentity(),
                                LogStore::BootstrapRecords(Voters({4}), {Index(1), Term(1)},
                                                           {Term(1), NodeId(), Index(1)}))
                  .ok());
  Reopen();
  const auto log = Recover();
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->before_first, (LogPosition{Index(1), Term(1)}));
  EXPECT_EQ(log->first, Index(2));
  EXPECT_EQ(log->membership, Voters({4}));
  EXPECT_EQ(log->hard_state.commit, Index(1));
}

using LogStoreDeathTest = LogStoreTest;

// What Recover would refuse is not written in the first place.
TEST_F(LogStoreDeathTest, ATaskThatBreaksTheLogAborts) {
  PutGoodLog();
  LogStore log(engine_.get());
  ASSERT_TRUE(log.Recover().ok());
  rocksdb::WriteBatch batch;
  auto add = [&](const raft::AppendTask& task) { (void)log.AddToBatch(task, &batch); };
  raft::AppendTask gap;
  gap.entries = {MakeEntry(12, 5, "x")};
  EXPECT_DEATH(add(gap), "not contiguous");
  raft::AppendTask overwrite;
  overwrite.entries = {MakeEntry(10, 5, "x")};
  EXPECT_DEATH(add(overwrite), "not contiguous");
  raft::AppendTask early;
  early.entries = {MakeEntry(11, 6, "x")};
  EXPECT_DEATH(add(early), "later term");
  raft::AppendTask back;
  back.hard_state = HardState{Term(4), NodeId(1), Index(7)};
  EXPECT_DEATH(add(back), "went down");
  raft::AppendTask past;
  past.hard_state = HardState{Term(5), NodeId(2), Index(11)};
  EXPECT_DEATH(add(past), "past the log's end");
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(11), Term(5)}, {}};
  EXPECT_DEATH(add(cut), "cut past its end");
  LogStore unread(engine_.get());
  EXPECT_DEATH((void)unread.AddToBatch(gap, &batch), "before it was recovered");
}

}  // namespace
}  // namespace raftkv::wal
