// Replacing the applied state as a whole: staging, switching over, and what a crash leaves.
#include <filesystem>

#include <gtest/gtest.h>

#include "store/engine.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "wal/hooked_fs.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using store::Engine;

class EngineKvTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(BootstrapNode(path_).ok());
    Open();
    PutKv("who", "old");
    ASSERT_TRUE(engine_->FlushKv().ok());
  }

  void Open() {
    engine_.reset();
    auto engine = ScanAndOpen(path_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = std::move(*engine);
  }

  void PutKv(const std::string& key, const std::string& value) {
    rocksdb::WriteOptions write;
    write.disableWAL = true;
    ASSERT_TRUE(engine_->db()->Put(write, engine_->kv().get(), key, value).ok());
  }
  static std::string Get(Engine* engine, const std::string& key) {
    std::string value;
    const auto status = engine->db()->Get({}, engine->kv().get(), key, &value);
    return status.ok() ? value : status.ToString();
  }
  std::string Get(const std::string& key) { return Get(engine_.get(), key); }

  StatusOr<uint64_t> Stage(const std::map<std::string, std::string>& pairs) {
    return engine_->StageKv({MakeKvTable(dir_.Sub("table" + std::to_string(++tables_)), pairs)});
  }
  // The log writer's part.
  void WriteRecord(uint64_t id) {
    const auto [key, record] = Engine::KvFamilyRecord(id);
    PutMeta(key, record);
  }
  void PutMeta(const std::string& key, const std::string& record) {
    rocksdb::WriteOptions write;
    write.sync = true;
    ASSERT_TRUE(engine_->db()->Put(write, engine_->raft_meta(), key, record).ok());
  }

  std::vector<std::string> Families() {
    std::vector<std::string> families;
    EXPECT_TRUE(rocksdb::DB::ListColumnFamilies({}, path_, &families).ok());
    return families;
  }
  static std::vector<std::string> WithKv(const std::string& kv) {
    return {"default", "raft_meta", "raft_log", kv};
  }

  TempDir dir_;
  const std::string path_ = dir_.Sub("db");
  std::unique_ptr<Engine> engine_;
  int tables_ = 0;
};

TEST_F(EngineKvTest, AStagedStateTakesThePlaceOfTheOldOne) {
  const store::FamilyHandle former = engine_->kv();
  const auto id = engine_->StageKv({MakeKvTable(dir_.Sub("1"), {{"a", "1"}, {"b", "2"}}),
                                    MakeKvTable(dir_.Sub("2"), {{"who", "new"}})});
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_FALSE(fs::exists(dir_.Sub("1")));  // moved, not copied
  EXPECT_EQ(Get("who"), "old");
  WriteRecord(*id);
  ASSERT_TRUE(engine_->AdoptStagedKv(*id).ok());
  EXPECT_EQ(Get("who"), "new");
  EXPECT_EQ(Get("b"), "2");
  // Who reads the former one goes on reading it.
  std::string value;
  ASSERT_TRUE(engine_->db()->Get({}, former.get(), "who", &value).ok());
  EXPECT_EQ(value, "old");
  PutKv("b", "3");
  ASSERT_TRUE(engine_->FlushKv().ok());
  EXPECT_EQ(Families(), WithKv("kv.1"));
}

TEST_F(EngineKvTest, TheReplacedStateStaysReplacedAcrossStartsAndIsReplacedAgain) {
  for (uint64_t round = 1; round <= 3; ++round) {
    const auto id = Stage({{"who", std::to_string(round)}});
    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(*id, round);
    WriteRecord(*id);
    ASSERT_TRUE(engine_->AdoptStagedKv(*id).ok());
    ASSERT_TRUE(engine_->FlushAll().ok());
    Open();
    EXPECT_EQ(Get("who"), std::to_string(round));
    EXPECT_EQ(Families(), WithKv("kv." + std::to_string(round)));
  }
}

TEST_F(EngineKvTest, ACrashBeforeTheRecordLeavesTheOldStateAndRemovesTheStaged) {
  ASSERT_TRUE(Stage({{"who", "new"}}).ok());
  ASSERT_TRUE(Stage({{"who", "newer"}}).ok());
  EXPECT_EQ(Families().size(), 6u);
  Open();
  EXPECT_EQ(Get("who"), "old");
  EXPECT_EQ(Families(), WithKv("kv"));
}

TEST_F(EngineKvTest, ACrashAfterTheRecordLeavesTheNewStateAndRemovesTheOld) {
  const auto id = Stage({{"who", "new"}});
  WriteRecord(*id);
  Open();
  EXPECT_EQ(Get("who"), "new");
  EXPECT_EQ(Families(), WithKv("kv.1"));
  // Read-only, nothing is removed, and the right one is read.
  const auto next = Stage({{"who", "not yet"}});
  EXPECT_GT(*next, *id);
  engine_.reset();
  const std::string before = DirectoryFingerprint(path_);
  {
    const auto read_only = Engine::OpenReadOnly(TestOptions(path_));
    ASSERT_TRUE(read_only.ok()) << read_only.status();
    EXPECT_EQ(Get(read_only->get(), "who"), "new");
  }
  EXPECT_EQ(DirectoryFingerprint(path_), before);
  EXPECT_EQ(Families().size(), 5u);
}

TEST_F(EngineKvTest, AStagedStateThatIsNotWantedIsDropped) {
  const auto id = Stage({{"who", "new"}});
  ASSERT_TRUE(engine_->DropStagedKv(*id).ok());
  EXPECT_EQ(Families(), WithKv("kv"));
  EXPECT_EQ(engine_->DropStagedKv(*id).code(), Code::kNotFound);
  WriteRecord(*id);
  EXPECT_EQ(engine_->AdoptStagedKv(*id).code(), Code::kNotFound);
  EXPECT_EQ(Get("who"), "old");
}

TEST_F(EngineKvTest, NothingIsAdoptedThatIsNotOnRecord) {
  const auto id = Stage({{"who", "new"}});
  EXPECT_EQ(engine_->AdoptStagedKv(*id).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Get("who"), "old");
  EXPECT_EQ(Families().size(), 5u);
}

TEST_F(EngineKvTest, TablesThatOverlapAreRefusedAndLeaveNothing) {
  const auto id = engine_->StageKv({MakeKvTable(dir_.Sub("1"), {{"a", "1"}, {"c", "2"}}),
                                    MakeKvTable(dir_.Sub("2"), {{"b", "new"}})});
  EXPECT_FALSE(id.ok());
  EXPECT_EQ(Families(), WithKv("kv"));
  EXPECT_FALSE(engine_->StageKv({dir_.Sub("missing")}).ok());
  EXPECT_EQ(Families(), WithKv("kv"));
  const auto empty = engine_->StageKv({});
  EXPECT_TRUE(empty.ok()) << empty.status();
}

// The position the snapshot stands for is durable from the start; what is applied on top is not.
TEST_F(EngineKvTest, WhatIsFlushedIsToldRightAfterASwitch) {
  PutKv("applied", "5");
  const auto id = Stage({{"applied", "100"}});
  WriteRecord(*id);
  ASSERT_TRUE(engine_->AdoptStagedKv(*id).ok());
  EXPECT_EQ(*engine_->GetFlushedKv("applied"), "100");
  PutKv("applied", "101");
  EXPECT_EQ(Get("applied"), "101");
  EXPECT_EQ(*engine_->GetFlushedKv("applied"), "100");
  Open();  // as after a crash
  EXPECT_EQ(Get("applied"), "100");
  PutKv("applied", "102");
  EXPECT_EQ(*engine_->GetFlushedKv("applied"), "100");
  ASSERT_TRUE(engine_->FlushKv().ok());
  EXPECT_EQ(*engine_->GetFlushedKv("applied"), "102");
}

TEST_F(EngineKvTest, AMissingStateIsRefusedOnEveryTry) {
  WriteRecord(9);
  engine_.reset();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto engine = ScanAndOpen(path_);
    ASSERT_FALSE(engine.ok());
    EXPECT_EQ(engine.status().code(), Code::kCorruption);
    EXPECT_NE(engine.status().message().find("no column family kv.9"), std::string::npos)
        << engine.status();
    EXPECT_EQ(Engine::OpenReadOnly(TestOptions(path_)).status().code(), Code::kCorruption);
  }
  EXPECT_EQ(Families(), WithKv("kv"));  // and nothing was removed
}

TEST_F(EngineKvTest, ADamagedOrNewerRecordIsRefused) {
  const auto [key, record] = Engine::KvFamilyRecord(1);
  std::string damaged = record;
  damaged[4] = static_cast<char>(damaged[4] ^ 1);
  PutMeta(key, damaged);
  engine_.reset();
  EXPECT_EQ(ScanAndOpen(path_).status().code(), Code::kCorruption);
  EXPECT_FALSE(store::DecodeKvFamily("").ok());
  EXPECT_EQ(*store::DecodeKvFamily(record), 1u);
  EXPECT_FALSE(store::DecodeKvFamily(store::EncodeKvFamily(0)).ok());
}

TEST(EngineKv, OnlyItsOwnNamesAreStates) {
  EXPECT_EQ(store::ParseKvFamilyName("kv"), 0u);
  EXPECT_EQ(store::ParseKvFamilyName("kv.7"), 7u);
  EXPECT_EQ(store::ParseKvFamilyName(store::KvFamilyName(UINT64_MAX)), UINT64_MAX);
  for (const char* name :
       {"kv.", "kv.0", "kv.07", "kv.7x", "kv.-1", "kv7", "kv.18446744073709551616", "raft_log"}) {
    EXPECT_EQ(store::ParseKvFamilyName(name), std::nullopt) << name;
  }
}

TEST(EngineKv, ANewDirectoryCanBeginWithTables) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(Engine::Bootstrap(TestOptions(path), TestIdentity(), {{"some", "record"}},
                                {MakeKvTable(dir.Sub("table"), {{"applied", "1"}, {"k", "v"}})})
                  .ok());
  const auto engine = Engine::Open(TestOptions(path));
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(*(*engine)->GetFlushedKv("applied"), "1");
  std::string value;
  ASSERT_TRUE((*engine)->db()->Get({}, (*engine)->raft_meta(), "some", &value).ok());
}

TEST_F(EngineKvTest, ACheckpointHoldsWhatWasThereAndLeavesTheDatabaseAsItIs) {
  const auto id = Stage({{"who", "new"}});
  WriteRecord(*id);
  ASSERT_TRUE(engine_->AdoptStagedKv(*id).ok());
  ASSERT_TRUE(Stage({{"who", "not yet"}}).ok());
  PutKv("k", "unflushed");
  PutMeta("some", "record");
  const std::string copy = dir_.Sub("checkpoint");
  const Status made = engine_->MakeCheckpoint(copy);
  ASSERT_TRUE(made.ok()) << made;
  PutKv("k", "later");
  PutMeta("some", "later");
  {
    const auto engine = Engine::OpenReadOnly(TestOptions(copy));
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_EQ(Get(engine->get(), "who"), "new");
    EXPECT_EQ(Get(engine->get(), "k"), "unflushed");
    std::string value;
    ASSERT_TRUE((*engine)->db()->Get({}, (*engine)->raft_meta(), "some", &value).ok());
    EXPECT_EQ(value, "record");
  }
  EXPECT_FALSE(engine_->MakeCheckpoint(copy).ok());
  EXPECT_EQ(Get("k"), "later");
}

}  // namespace
}  // namespace raftkv::wal
