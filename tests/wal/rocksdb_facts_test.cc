// What we believe about RocksDB and build on (DESIGN section 4). A new version of the library that
// breaks one of these must fail here, not in a data directory.
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "common/check.h"
#include "store/engine.h"
#include "wal/hooked_fs.h"
#include "wal/keys.h"
#include "wal/wal_scanner.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using store::Engine;

rocksdb::WriteOptions NoWal() {
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  return write;
}

class RocksDbFacts : public ::testing::Test {
 protected:
  void Open(rocksdb::Env* env = nullptr) {
    ASSERT_TRUE(BootstrapNode(path_).ok());
    store::EngineOptions options = TestOptions(path_);
    options.env = env;
    auto engine = Engine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = std::move(*engine);
  }

  Status PutEntry(uint64_t index, const std::string& value) {
    return store::FromRocksDb(
        engine_->db()->Put({}, engine_->raft_log(), LogKey(Index(index)), value), "put");
  }

  uint64_t WalBytes() {
    uint64_t bytes = 0;
    for (const std::string& wal : WalPaths(path_)) bytes += LogBytes(wal);
    return bytes;
  }

  TempDir dir_;
  std::string path_ = dir_.Sub("db");
  std::unique_ptr<Engine> engine_;
};

// Fact 1. Nothing is timed: were the writes to wait for the sync, the test would hang.
TEST_F(RocksDbFacts, WritesWithoutWalPassASyncThatIsUnderWay) {
  HookedEnv hooked;
  Open(hooked.env.get());
  std::mutex mutex;
  std::condition_variable changed;
  bool syncing = false, released = false;
  hooked.fs->SetHook([&](FileOp op, const std::string& file) {
    if (op != FileOp::kSync || !IsWal(file)) return rocksdb::IOStatus::OK();
    std::unique_lock lock(mutex);
    syncing = true;
    changed.notify_all();
    changed.wait(lock, [&] { return released; });
    return rocksdb::IOStatus::OK();
  });
  ASSERT_TRUE(PutEntry(1, "entry").ok());
  bool synced = false;
  std::thread writer([&] { synced = engine_->db()->SyncWAL().ok(); });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return syncing; });
  }
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(engine_->db()->Put(NoWal(), engine_->kv().get(), std::to_string(i), "v").ok());
  }
  {
    std::lock_guard lock(mutex);
    EXPECT_FALSE(released);
    released = true;
  }
  changed.notify_all();
  writer.join();
  EXPECT_TRUE(synced);
  engine_.reset();
}

// Fact 3: kv's memtable holds on to WAL files that have none of its data, until it is flushed.
TEST_F(RocksDbFacts, FlushingKvFreesTheWalFilesItPinned) {
  Open();
  ASSERT_TRUE(engine_->db()->Put(NoWal(), engine_->kv().get(), "k", "v").ok());
  for (int i = 1; i <= 50; ++i) ASSERT_TRUE(PutEntry(i, std::string(1000, 'x')).ok());
  rocksdb::FlushOptions flush;
  ASSERT_TRUE(engine_->db()->Flush(flush, engine_->raft_log()).ok());
  EXPECT_GT(WalBytes(), 50'000u);
  ASSERT_TRUE(engine_->FlushKv().ok());
  EXPECT_EQ(WalBytes(), 0u);
}

// Fact 4, why there is a scanner: left to itself, RocksDB's default opens without a word and the
// records behind a flipped bit are gone.
TEST_F(RocksDbFacts, PointInTimeRecoveryAloneLosesSyncedRecords) {
  Open();
  for (int i = 1; i <= 100; ++i) ASSERT_TRUE(PutEntry(i, std::string(200, 'x')).ok());
  ASSERT_TRUE(engine_->db()->SyncWAL().ok());
  CopyDirectory(path_, dir_.Sub("crashed"));
  const std::string wal = WalPaths(dir_.Sub("crashed")).back();
  CutZeros(wal);
  std::string bytes = ReadFileBytes(wal);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  WriteFileBytes(wal, bytes);
  store::EngineOptions options = TestOptions(dir_.Sub("crashed"));
  options.wal_recovery = store::WalRecovery::kTornTail;
  {
    const auto unasked = Engine::OpenReadOnly(options);
    ASSERT_TRUE(unasked.ok()) << unasked.status();
    std::string value;
    EXPECT_TRUE((*unasked)->db()->Get({}, (*unasked)->raft_log(), LogKey(Index(10)), &value).ok());
    EXPECT_TRUE(
        (*unasked)->db()->Get({}, (*unasked)->raft_log(), LogKey(Index(100)), &value).IsNotFound());
  }
  EXPECT_EQ(ScanAndOpen(dir_.Sub("crashed")).status().code(), Code::kCorruption);
  // And the strict mode, which a clean verdict chooses, refuses by itself.
  EXPECT_EQ(Engine::Open(TestOptions(dir_.Sub("crashed"))).status().code(), Code::kCorruption);
}

// Fact 7: an error of the WAL ends all writing, for good.
TEST_F(RocksDbFacts, AfterAFailedSyncEveryWriteFails) {
  HookedEnv hooked;
  Open(hooked.env.get());
  bool failing = true;
  hooked.fs->SetHook([&](FileOp op, const std::string& file) {
    return failing && op == FileOp::kSync && IsWal(file) ? rocksdb::IOStatus::IOError("no disk")
                                                         : rocksdb::IOStatus::OK();
  });
  ASSERT_TRUE(PutEntry(1, "entry").ok());
  EXPECT_FALSE(engine_->db()->SyncWAL().ok());
  failing = false;
  EXPECT_FALSE(PutEntry(2, "entry").ok());
  EXPECT_FALSE(engine_->db()->SyncWAL().ok());
  engine_.reset();
}

// Fact 8: point deletes are right for an entry that was written more than once, whatever has been
// flushed or compacted in between.
TEST_F(RocksDbFacts, ADeletedEntryStaysDeletedThroughFlushesAndCompactions) {
  for (int flushes = 0; flushes < 8; ++flushes) {
    if (flushes == 0) Open();
    auto step = [&](int bit) {
      if ((flushes & bit) != 0) {
        ASSERT_TRUE(engine_->db()->Flush({}, engine_->raft_log()).ok());
      }
    };
    const uint64_t index = 100 + static_cast<uint64_t>(flushes);
    ASSERT_TRUE(PutEntry(index, "old").ok());
    step(1);
    ASSERT_TRUE(PutEntry(index, "new").ok());
    step(2);
    ASSERT_TRUE(engine_->db()->Delete({}, engine_->raft_log(), LogKey(Index(index))).ok());
    step(4);
    ASSERT_TRUE(engine_->db()->CompactRange({}, engine_->raft_log(), nullptr, nullptr).ok());
    std::string value;
    EXPECT_TRUE(
        engine_->db()->Get({}, engine_->raft_log(), LogKey(Index(index)), &value).IsNotFound());
  }
}

// Fact 13: when kv is flushed, the log written before is synced first, so that applied state on
// disk never passes the log it came from.
TEST_F(RocksDbFacts, FlushingKvSyncsTheLogWrittenBefore) {
  HookedEnv hooked;
  Open(hooked.env.get());
  ASSERT_TRUE(PutEntry(1, "entry").ok());
  ASSERT_TRUE(engine_->db()->Put(NoWal(), engine_->kv().get(), "applied", "1").ok());
  ASSERT_TRUE(engine_->FlushKv().ok());
  CopyAsAfterPowerLoss(*hooked.fs, path_, dir_.Sub("crashed"));
  const auto after = ScanAndOpen(dir_.Sub("crashed"));
  ASSERT_TRUE(after.ok()) << after.status();
  std::string value;
  EXPECT_TRUE((*after)->db()->Get({}, (*after)->kv().get(), "applied", &value).ok());
  EXPECT_TRUE((*after)->db()->Get({}, (*after)->raft_log(), LogKey(Index(1)), &value).ok());
  engine_.reset();
}

// Ends the process.
void CompactNothingOnABadDisk(const std::string& path) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("raftkv"));
  HookedEnv hooked;
  store::EngineOptions options = TestOptions(path);
  options.env = hooked.env.get();
  RAFTKV_CHECK(BootstrapNode(path).ok(), path);
  const auto engine = Engine::Open(options).value();
  rocksdb::DB* const db = engine->db();
  rocksdb::ColumnFamilyHandle* const log = engine->raft_log();
  const std::string first = LogKey(Index(1));
  const std::string end = LogKey(Index(9));
  RAFTKV_CHECK(db->Put({}, log, first, "entry").ok() && engine->FlushLog().ok(), "an entry");
  RAFTKV_CHECK(db->DeleteRange({}, log, first, end).ok() && engine->FlushLog().ok(), "a cut");
  hooked.fs->SetHook([](FileOp op, const std::string& file) {
    return op == FileOp::kAppend && file.ends_with(".sst") ? rocksdb::IOStatus::IOError("no disk")
                                                           : rocksdb::IOStatus::OK();
  });
  (void)db->CompactRange({}, log, nullptr, nullptr);
}

// A compaction of a log that is all cut has nothing to write, and begins a table all the same. If
// the disk fails then, Debian's build ends the process with an assertion, on its way to say why.
TEST(RocksDbFactsDeathTest, ACompactionThatCanNotWriteNothingEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // The process that dies runs this test from its beginning, and can't remove what it made.
  constexpr const char* kPath = "RAFTKV_FACTS_PATH";
  std::optional<TempDir> dir;
  if (std::getenv(kPath) == nullptr) setenv(kPath, dir.emplace().Sub("db").c_str(), 1);
  EXPECT_DEATH(CompactNothingOnABadDisk(std::getenv(kPath)),
               "a compaction failed, family=raft_log error=IO error: no disk.*ExtractUserKey");
}

}  // namespace
}  // namespace raftkv::wal
