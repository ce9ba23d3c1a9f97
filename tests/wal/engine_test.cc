// Making, opening and refusing a node's database.
#include "store/engine.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <rocksdb/convenience.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/directory_lock.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "wal/hooked_fs.h"
#include "wal/keys.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using store::DirectoryLock;
using store::Engine;

rocksdb::WriteOptions NoWal() {
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  return write;
}

// Opens twice: what is refused must be refused on every try.
void ExpectRefused(const std::string& path, Code code, const std::string& says) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto engine = Engine::Open(TestOptions(path));
    ASSERT_FALSE(engine.ok()) << "attempt " << attempt;
    EXPECT_EQ(engine.status().code(), code) << engine.status();
    EXPECT_NE(engine.status().message().find(says), std::string::npos) << engine.status();
  }
}

// A database with these column families, made without the engine.
void MakeForeignDatabase(const std::string& path, const std::vector<std::string>& families) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, path, &raw).ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  for (const std::string& family : families) {
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily({}, family, &handle).ok());
    ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
  }
}

TEST(Engine, BootstrapMakesWhatOpenOpens) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(Engine::Bootstrap(TestOptions(path), TestIdentity(), {{"some", "record"}}).ok());
  EXPECT_FALSE(fs::exists(path + ".bootstrap"));
  const auto engine = Engine::Open(TestOptions(path));
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->identity(), TestIdentity());
  std::string value;
  ASSERT_TRUE((*engine)->db()->Get({}, (*engine)->raft_meta(), "some", &value).ok());
  EXPECT_EQ(value, "record");
}

TEST(Engine, BootstrapRefusesWhateverIsThere) {
  TempDir dir;
  ASSERT_TRUE(BootstrapNode(dir.Sub("db")).ok());
  const std::string before = DirectoryFingerprint(dir.Sub("db"));
  EXPECT_EQ(BootstrapNode(dir.Sub("db")).code(), Code::kAlreadyExists);
  EXPECT_EQ(DirectoryFingerprint(dir.Sub("db")), before);
  fs::create_directory(dir.Sub("empty"));
  EXPECT_EQ(BootstrapNode(dir.Sub("empty")).code(), Code::kAlreadyExists);
  EXPECT_EQ(BootstrapNode(dir.Sub("no/parent")).code(), Code::kIoError);
}

// Stopped at any of its steps, it leaves nothing under the final name, and can be done again.
TEST(Engine, AnInterruptedBootstrapLeavesNothingThatCouldBeOpened) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  for (int steps = 0;; ++steps) {
    HookedEnv hooked;
    int left = steps;
    hooked.fs->SetHook([&](FileOp, const std::string&) {
      EXPECT_FALSE(fs::exists(path));
      return left-- > 0 ? rocksdb::IOStatus::OK() : rocksdb::IOStatus::IOError("interrupted");
    });
    const Status status = BootstrapNode(path, hooked.env.get());
    hooked.fs->SetHook(nullptr);
    if (status.ok()) {
      EXPECT_GT(steps, 10);
      break;
    }
    ASSERT_FALSE(fs::exists(path)) << steps;
    ASSERT_EQ(Engine::Open(TestOptions(path)).status().code(), Code::kNotFound);
  }
  EXPECT_TRUE(Engine::Open(TestOptions(path)).ok());
}

TEST(Engine, OpenCreatesNothing) {
  TempDir dir;
  ExpectRefused(dir.Sub("db"), Code::kNotFound, "no database directory");
  EXPECT_FALSE(fs::exists(dir.Sub("db")));
  fs::create_directory(dir.Sub("empty"));
  ExpectRefused(dir.Sub("empty"), Code::kCorruption, "no CURRENT file");
  EXPECT_TRUE(fs::is_empty(dir.Sub("empty")));
}

TEST(Engine, WithoutItsCurrentOrManifestItIsRefusedOnEveryTry) {
  for (const char* lost : {"CURRENT", "MANIFEST"}) {
    TempDir dir;
    const std::string path = dir.Sub("db");
    ASSERT_TRUE(BootstrapNode(path).ok());
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().filename().string().starts_with(lost)) fs::remove(entry.path());
    }
    ExpectRefused(path, Code::kCorruption, "restore it from a backup");
    EXPECT_EQ(Engine::OpenReadOnly(TestOptions(path)).status().code(), Code::kCorruption);
  }
}

TEST(Engine, AMissingTableIsRefusedOnEveryTry) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".sst") fs::remove(entry.path());
  }
  ExpectRefused(path, Code::kCorruption, "restore it from a backup");
}

// Someone has it open: nothing is wrong with the data.
TEST(Engine, ADatabaseThatIsOpenIsNotCalledDamaged) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  const auto engine = Engine::Open(TestOptions(path));
  ASSERT_TRUE(engine.ok());
  ExpectRefused(path, Code::kIoError, "LOCK");
}

TEST(Engine, ADamagedManifestIsRefusedOnEveryTry) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  for (const auto& entry : fs::directory_iterator(path)) {
    if (!entry.path().filename().string().starts_with("MANIFEST")) continue;
    std::string bytes = ReadFileBytes(entry.path().string());
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x10);
    WriteFileBytes(entry.path().string(), bytes);
  }
  ExpectRefused(path, Code::kCorruption, "restore it from a backup");
}

TEST(Engine, ANewerFormatIsRefusedAndNamed) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  store::NodeIdentity newer = TestIdentity();
  newer.format_version = store::kFormatVersion + 1;
  ASSERT_TRUE(Engine::Bootstrap(TestOptions(path), newer, {}).ok());
  ExpectRefused(path, Code::kFailedPrecondition, "format version 2");
  EXPECT_EQ(Engine::OpenReadOnly(TestOptions(path)).status().code(), Code::kFailedPrecondition);
}

TEST(Engine, AnotherProgramsDatabaseIsRefused) {
  TempDir dir;
  MakeForeignDatabase(dir.Sub("plain"), {});
  ExpectRefused(dir.Sub("plain"), Code::kFailedPrecondition, "another program");
  MakeForeignDatabase(dir.Sub("more"), {"raft_meta", "raft_log", "kv", "future"});
  ExpectRefused(dir.Sub("more"), Code::kFailedPrecondition, "future");
  MakeForeignDatabase(dir.Sub("bare"), {"raft_meta", "raft_log", "kv"});
  ExpectRefused(dir.Sub("bare"), Code::kCorruption, "no identity record");
}

TEST(Engine, ADamagedIdentityIsRefused) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  std::string record = store::EncodeIdentity(TestIdentity());
  record[6] = static_cast<char>(record[6] ^ 1);
  // The extra record is written after the identity, over it.
  ASSERT_TRUE(Engine::Bootstrap(TestOptions(path), TestIdentity(),
                                {{std::string(store::kIdentityKey), record}})
                  .ok());
  ExpectRefused(path, Code::kCorruption, "identity record is damaged");
}

TEST(Engine, WhatKvHasFlushedIsToldFromWhatItHasNot) {
  TempDir dir;
  ASSERT_TRUE(BootstrapNode(dir.Sub("db")).ok());
  const auto engine = Engine::Open(TestOptions(dir.Sub("db")));
  ASSERT_TRUE(engine.ok()) << engine.status();
  Engine& e = **engine;
  EXPECT_EQ(e.GetFlushedKv("applied").status().code(), Code::kNotFound);
  ASSERT_TRUE(e.db()->Put(NoWal(), e.kv().get(), "applied", "1").ok());
  EXPECT_EQ(e.GetFlushedKv("applied").status().code(), Code::kNotFound);
  ASSERT_TRUE(e.FlushKv().ok());
  EXPECT_EQ(*e.GetFlushedKv("applied"), "1");
  ASSERT_TRUE(e.db()->Put(NoWal(), e.kv().get(), "applied", "2").ok());
  EXPECT_EQ(*e.GetFlushedKv("applied"), "1");
  std::string value;
  ASSERT_TRUE(e.db()->Get({}, e.kv().get(), "applied", &value).ok());
  EXPECT_EQ(value, "2");
}

TEST(Engine, ClosingFlushesNothingAndFlushAllLeavesNothingToReplay) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  {
    const auto engine = Engine::Open(TestOptions(path));
    ASSERT_TRUE((*engine)->db()->Put(NoWal(), (*engine)->kv().get(), "k", "lost").ok());
  }
  {
    const auto engine = Engine::Open(TestOptions(path));
    std::string value;
    EXPECT_TRUE((*engine)->db()->Get({}, (*engine)->kv().get(), "k", &value).IsNotFound());
    ASSERT_TRUE((*engine)->db()->Put(NoWal(), (*engine)->kv().get(), "k", "kept").ok());
    ASSERT_TRUE((*engine)->db()->Put({}, (*engine)->raft_log(), LogKey(Index(1)), "e").ok());
    EXPECT_GT((*engine)->DiskBytes(), 0u);
    ASSERT_TRUE((*engine)->FlushAll().ok());
    EXPECT_EQ((*engine)->IntProperty((*engine)->raft_log(), "rocksdb.num-entries-active-mem-table"),
              0u);
  }
  for (const std::string& wal : WalPaths(path)) EXPECT_EQ(LogBytes(wal), 0u) << wal;
  const auto engine = Engine::Open(TestOptions(path));
  std::string value;
  ASSERT_TRUE((*engine)->db()->Get({}, (*engine)->kv().get(), "k", &value).ok());
  EXPECT_EQ(value, "kept");
}

// DESIGN fact 9: it sees what is in the WAL only, and leaves every byte and time stamp as it was.
// What raft_meta and raft_log hold in memory would keep every WAL file, and a start reads them all.
TEST(Engine, FlushingKvAndThenTheLogFreesTheWal) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  const auto engine = Engine::Open(TestOptions(path));
  ASSERT_TRUE(engine.ok()) << engine.status();
  rocksdb::DB* const db = (*engine)->db();
  const std::string value(1000, 'v');
  ASSERT_TRUE(db->Put({}, (*engine)->raft_meta(), "hard", "state").ok());
  ASSERT_TRUE(db->Put({}, (*engine)->raft_log(), LogKey(Index(1)), value).ok());
  ASSERT_TRUE(db->Put(NoWal(), (*engine)->kv().get(), "a", value).ok());
  const auto wal_bytes = [&] {
    uint64_t bytes = 0;
    for (const std::string& wal : WalPaths(path)) bytes += LogBytes(wal);
    return bytes;
  };
  ASSERT_TRUE((*engine)->FlushKv().ok());
  EXPECT_GT(wal_bytes(), 1000u) << "the log's own memtable needs it still";
  ASSERT_TRUE((*engine)->FlushLog().ok());
  // RocksDB deletes files that are not needed any more on a thread of its own.
  ASSERT_TRUE(db->DisableFileDeletions().ok());
  ASSERT_TRUE(db->EnableFileDeletions(/*force=*/true).ok());
  EXPECT_LT(wal_bytes(), 100u);
}

TEST(Engine, ReadOnlyChangesNothingAndSeesTheWal) {
  TempDir dir;
  const std::string path = dir.Sub("db");
  ASSERT_TRUE(BootstrapNode(path).ok());
  {
    const auto engine = Engine::Open(TestOptions(path));
    for (int i = 1; i <= 100; ++i) {
      ASSERT_TRUE((*engine)->db()->Put({}, (*engine)->raft_log(), LogKey(Index(i)), "entry").ok());
    }
    ASSERT_TRUE((*engine)->db()->Put(NoWal(), (*engine)->kv().get(), "k", "never flushed").ok());
    CopyDirectory(path, dir.Sub("crashed"));
  }
  const std::string before = DirectoryFingerprint(dir.Sub("crashed"));
  {
    const auto engine = Engine::OpenReadOnly(TestOptions(dir.Sub("crashed")));
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_EQ((*engine)->identity(), TestIdentity());
    std::string value;
    EXPECT_TRUE((*engine)->db()->Get({}, (*engine)->raft_log(), LogKey(Index(100)), &value).ok());
    EXPECT_TRUE((*engine)->db()->Get({}, (*engine)->kv().get(), "k", &value).IsNotFound());
    EXPECT_FALSE((*engine)->db()->Put({}, (*engine)->kv().get(), "k", "v").ok());
  }
  EXPECT_EQ(DirectoryFingerprint(dir.Sub("crashed")), before);
}

// As ldb does: default options, no code of ours.
TEST(Engine, OpensWithoutOurOptions) {
  TempDir dir;
  ASSERT_TRUE(BootstrapNode(dir.Sub("db")).ok());
  std::vector<std::string> families;
  ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, dir.Sub("db"), &families).ok());
  EXPECT_EQ(families, (std::vector<std::string>{"default", "raft_meta", "raft_log", "kv"}));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& family : families) {
    descriptors.emplace_back(family, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::OpenForReadOnly({}, dir.Sub("db"), descriptors, &handles, &raw).ok());
  for (rocksdb::ColumnFamilyHandle* handle : handles) raw->DestroyColumnFamilyHandle(handle);
  delete raw;
}

// Guards that others stand in front of: no test of behaviour would miss them.
TEST(Engine, OptionsThatKeepTheDataSafeAreAsDocumented) {
  store::EngineOptions options = TestOptions("unused");
  const rocksdb::DBOptions clean = store::DatabaseOptions(options);
  EXPECT_FALSE(clean.create_if_missing);
  EXPECT_FALSE(clean.create_missing_column_families);
  EXPECT_FALSE(clean.avoid_flush_during_recovery);
  EXPECT_TRUE(clean.avoid_flush_during_shutdown);
  EXPECT_FALSE(clean.atomic_flush);
  EXPECT_EQ(clean.recycle_log_file_num, 0u);
  EXPECT_FALSE(clean.track_and_verify_wals_in_manifest);
  EXPECT_TRUE(clean.paranoid_checks);
  EXPECT_EQ(clean.max_bgerror_resume_count, 0);
  EXPECT_EQ(clean.wal_recovery_mode, rocksdb::WALRecoveryMode::kAbsoluteConsistency);
  options.wal_recovery = store::WalRecovery::kTornTail;
  EXPECT_EQ(store::DatabaseOptions(options).wal_recovery_mode,
            rocksdb::WALRecoveryMode::kPointInTimeRecovery);
}

TEST(Engine, TheLibraryHasTheCompressionsWeUse) {
  const auto supported = rocksdb::GetSupportedCompressions();
  for (const auto wanted : {rocksdb::kLZ4Compression, rocksdb::kZSTD}) {
    EXPECT_NE(std::find(supported.begin(), supported.end(), wanted), supported.end()) << wanted;
  }
}

TEST(DirectoryLock, KeepsOutASecondAndSaysWhoHasIt) {
  TempDir dir;
  EXPECT_EQ(*DirectoryLock::Holder(dir.path()), std::nullopt);
  EXPECT_TRUE(fs::is_empty(dir.path()));
  {
    const auto held = DirectoryLock::Acquire(dir.path());
    ASSERT_TRUE(held.ok()) << held.status();
    EXPECT_EQ(*DirectoryLock::Holder(dir.path()), getpid());
    const auto second = DirectoryLock::Acquire(dir.path());
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().code(), Code::kFailedPrecondition);
    EXPECT_NE(second.status().message().find("process " + std::to_string(getpid())),
              std::string::npos)
        << second.status();
  }
  EXPECT_EQ(*DirectoryLock::Holder(dir.path()), std::nullopt);
  EXPECT_TRUE(DirectoryLock::Acquire(dir.path()).ok());
  EXPECT_EQ(DirectoryLock::Acquire(dir.Sub("missing")).status().code(), Code::kIoError);
}

TEST(DirectoryLock, DiesWithItsProcess) {
  TempDir dir;
  int ready[2], finish[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(finish), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  char byte = 0;
  if (child == 0) {
    const auto held = DirectoryLock::Acquire(dir.path());
    byte = held.ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    if (read(finish[0], &byte, 1) != 1) _exit(1);
    _exit(0);  // no destructor runs, as after a SIGKILL
  }
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(*DirectoryLock::Holder(dir.path()), child);
  EXPECT_FALSE(DirectoryLock::Acquire(dir.path()).ok());
  ASSERT_EQ(write(finish[1], &byte, 1), 1);
  int exit_status = 0;
  ASSERT_EQ(waitpid(child, &exit_status, 0), child);
  EXPECT_EQ(*DirectoryLock::Holder(dir.path()), std::nullopt);
  EXPECT_TRUE(DirectoryLock::Acquire(dir.path()).ok());
  for (const int fd : {ready[0], ready[1], finish[0], finish[1]}) close(fd);
}

}  // namespace
}  // namespace raftkv::wal
