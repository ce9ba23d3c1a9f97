// Zeros that are written ahead in WAL files, and what is made of them behind a log's end.
#include "store/wal_file_system.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/utilities/checkpoint.h>

#include "common/rng.h"
#include "store/wal_format.h"
#include "wal/keys.h"
#include "wal/wal_scanner.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using store::Engine;
using store::WalReading;
using store::WalRecovery;

// A node's directory as kill -9 leaves it, of records with these values.
class WalFileSystemTest : public ::testing::Test {
 protected:
  void WriteRecords(const std::vector<std::string>& values, size_t new_file_before = SIZE_MAX) {
    const std::string live = dir_.Sub("live");
    ASSERT_TRUE(BootstrapNode(live).ok());
    auto engine = Engine::Open(TestOptions(live));
    ASSERT_TRUE(engine.ok()) << engine.status();
    rocksdb::DB* const db = (*engine)->db();
    for (size_t i = 0; i < values.size(); ++i) {
      if (i == new_file_before) {
        rocksdb::WriteOptions write;
        write.disableWAL = true;
        ASSERT_TRUE(db->Put(write, (*engine)->kv().get(), "k", "v").ok());
        ASSERT_TRUE((*engine)->FlushKv().ok());
      }
      ASSERT_TRUE(db->Put({}, (*engine)->raft_log(), LogKey(Index(i + 1)), values[i]).ok());
      ASSERT_TRUE(db->SyncWAL().ok());
      ends_.push_back(LogBytes(WalPaths(live).back()));
    }
    CopyDirectory(live, db_);
    for (const std::string& path : WalPaths(db_)) {
      if (fs::file_size(path) == 0) fs::remove(path);
    }
    newest_ = WalPaths(db_).back();
    bytes_ = ReadFileBytes(newest_).substr(0, LogBytes(newest_));
  }

  size_t RecordsAfterOpening(WalRecovery recovery) {
    store::EngineOptions options = TestOptions(db_);
    options.wal_recovery = recovery;
    const auto engine = Engine::OpenReadOnly(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? Count(engine->get()) : SIZE_MAX;
  }

  static size_t Count(Engine* engine) {
    const std::unique_ptr<rocksdb::Iterator> it(
        engine->db()->NewIterator(rocksdb::ReadOptions(), engine->raft_log()));
    size_t count = 0;
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++count;
    return count;
  }

  TempDir dir_{TempDir::kMemory};
  std::string db_ = dir_.Sub("db");
  std::vector<uint64_t> ends_;  // of each record
  std::string newest_;
  std::string bytes_;  // of the newest, without what is written ahead
};

TEST_F(WalFileSystemTest, AKilledNodesFilesEndInZerosThatNobodyCounts) {
  WriteRecords({std::string(100, 'a'), std::string(70'000, 'b'), "c"});
  EXPECT_GT(fs::file_size(newest_), bytes_.size() + 100'000);
  const std::string before = DirectoryFingerprint(db_);
  const auto scan = ScanWalFiles(db_);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->recovery, WalRecovery::kClean);
  EXPECT_EQ(scan->files.back().valid_bytes, bytes_.size());
  EXPECT_EQ(RecordsAfterOpening(WalRecovery::kClean), 3u);
  EXPECT_EQ(DirectoryFingerprint(db_), before);
  const auto engine = ScanAndOpen(db_);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(Count(engine->get()), 3u);
}

TEST_F(WalFileSystemTest, ClosingCutsThemOff) {
  const std::string path = dir_.Sub("closed");
  ASSERT_TRUE(BootstrapNode(path).ok());
  {
    const auto engine = Engine::Open(TestOptions(path));
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_TRUE((*engine)->db()->Put({}, (*engine)->raft_log(), LogKey(Index(1)), "v").ok());
    EXPECT_GT(fs::file_size(WalPaths(path).back()), store::kWalFillBytes);
  }
  EXPECT_LT(fs::file_size(WalPaths(path).back()), 100u);
}

// What is written in large pieces is not written twice.
TEST_F(WalFileSystemTest, LargeAppendsAreNotFilledAheadOf) {
  const auto files = store::NewWalFileSystem(rocksdb::FileSystem::Default(), store::kWalFillBytes,
                                             WalReading::kAtRest);
  const std::string path = dir_.Sub("000001.log");
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(files->NewWritableFile(path, {}, &file, nullptr).ok());
  uint64_t size = 0;
  const auto append = [&](size_t bytes, size_t times) {
    for (size_t i = 0; i < times; ++i, size += bytes) {
      ASSERT_TRUE(file->Append(std::string(bytes, 'a'), IOOptions(), nullptr).ok());
    }
  };
  append(200'000, 10);  // the first MiB was filled before that was known
  EXPECT_EQ(fs::file_size(path), size);
  append(1000, 3000);
  EXPECT_GT(fs::file_size(path), size);
  append(200'000, 10);
  EXPECT_EQ(fs::file_size(path), size);
  ASSERT_TRUE(file->Close(IOOptions(), nullptr).ok());
}

// A record may end in zeros of its own, at its block's end too.
TEST_F(WalFileSystemTest, ARecordsOwnZerosAreNotCutOff) {
  WriteRecords({"first", std::string(store::kWalBlockBytes - 100, '\0'), std::string(3000, '\0')});
  EXPECT_EQ(ScanWalFiles(db_)->recovery, WalRecovery::kClean);
  EXPECT_EQ(ScanWalFiles(db_)->files.back().records, 3u);
  EXPECT_EQ(RecordsAfterOpening(WalRecovery::kClean), 3u);
}

// Wherever a write was cut off: with zeros behind it, it is what it would be at a file's end.
TEST_F(WalFileSystemTest, AWriteThatWasCutOffIsTornWithZerosBehindIt) {
  Rng rng(5);
  std::vector<std::string> values;
  for (const size_t size : {10, 0, 700, 31'900, 5, 40'000, 20}) {
    std::string value;
    for (size_t i = 0; i < size; ++i) value.push_back(static_cast<char>(rng.Between(1, 255)));
    values.push_back(value);
  }
  WriteRecords(values);
  for (uint64_t cut = 0; cut < bytes_.size(); ++cut) {
    const std::string torn = bytes_.substr(0, cut) + std::string(70'000, '\0');
    // A record may end in a zero.
    size_t whole = 0;
    while (whole < ends_.size() && torn.compare(0, ends_[whole], bytes_, 0, ends_[whole]) == 0) {
      ++whole;
    }
    const uint64_t last_end = whole == 0 ? 0 : ends_[whole - 1];
    const bool at_end = torn.find_first_not_of('\0', last_end) == std::string::npos;
    const bool asks = cut % 1009 == 0 || cut < 150 || bytes_.size() - cut < 100 ||
                      (cut + 20) % store::kWalBlockBytes < 40;
    if (!asks && cut % 7 != 0) continue;
    WriteFileBytes(newest_, torn);
    const auto scan = ScanWalFiles(db_);
    ASSERT_TRUE(scan.ok()) << "cut to " << cut << ": " << scan.status();
    ASSERT_EQ(scan->recovery, at_end ? WalRecovery::kClean : WalRecovery::kTornTail) << cut;
    ASSERT_EQ(scan->files.back().records, whole) << "cut to " << cut;
    if (!asks) continue;
    ASSERT_EQ(RecordsAfterOpening(scan->recovery), whole) << "cut to " << cut;
  }
}

// RocksDB closes a file, which cuts the zeros off, when the next is already written to; and does
// not sync that.
TEST_F(WalFileSystemTest, AnOlderFileMayEndInZerosAndNotInATornWrite) {
  WriteRecords({"a", "b", "c"}, 2);
  const std::string older = WalPaths(db_)[0];
  const std::string bytes = ReadFileBytes(older).substr(0, LogBytes(older));
  WriteFileBytes(older, bytes + std::string(100'000, '\0'));
  EXPECT_EQ(ScanWalFiles(db_)->recovery, WalRecovery::kClean);
  EXPECT_EQ(RecordsAfterOpening(WalRecovery::kClean), 3u);
  WriteFileBytes(older, bytes.substr(0, bytes.size() - 1) + std::string(100'000, '\0'));
  EXPECT_EQ(ScanWalFiles(db_).status().code(), Code::kCorruption);
}

// What is behind damage must be found, though it ends in zeros as what was never written does.
TEST_F(WalFileSystemTest, ARecordOfZerosBehindDamageIsFound) {
  WriteRecords({"first", "second", std::string(500, '\0')});
  for (size_t at = 0; at < ends_[1]; ++at) {
    std::string damaged = bytes_;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    for (const size_t ahead : {0, 3, 5000, 100'000}) {
      WriteFileBytes(newest_, damaged + std::string(ahead, '\0'));
      ASSERT_EQ(ScanWalFiles(db_).status().code(), Code::kCorruption) << at << ' ' << ahead;
    }
  }
}

// Anything but zeros behind the end was not written ahead.
TEST_F(WalFileSystemTest, AByteAmongTheZerosIsSeen) {
  WriteRecords({"a", "b"});
  std::string bytes = bytes_ + std::string(100'000, '\0');
  bytes[bytes_.size() + 60'000] = 'x';
  WriteFileBytes(newest_, bytes);
  EXPECT_EQ(ScanWalFiles(db_)->recovery, WalRecovery::kTornTail);
  EXPECT_EQ(RecordsAfterOpening(WalRecovery::kTornTail), 2u);
  // An older file's would be damage.
  WriteFileBytes(db_ + "/999999.log", bytes_);
  EXPECT_EQ(ScanWalFiles(db_).status().code(), Code::kCorruption);
}

std::string ReadOn(rocksdb::FSSequentialFile* file, size_t n) {
  std::string buffer(n, '\0');
  Slice got;
  EXPECT_TRUE(file->Read(n, IOOptions(), &got, buffer.data(), nullptr).ok());
  return got.ToString();
}

// RocksDB asks for the size of a file in use, and then reads as much of it.
TEST_F(WalFileSystemTest, ACheckpointHasTheLogWithoutTheZeros) {
  const std::string path = dir_.Sub("live");
  ASSERT_TRUE(BootstrapNode(path).ok());
  const auto engine = Engine::Open(TestOptions(path));
  ASSERT_TRUE(engine.ok()) << engine.status();
  rocksdb::DB* const db = (*engine)->db();
  for (uint64_t i = 1; i <= 20; ++i) {
    const std::string value(i * 500, '\0');
    ASSERT_TRUE(db->Put({}, (*engine)->raft_log(), LogKey(Index(i)), value).ok());
    rocksdb::Checkpoint* made = nullptr;
    ASSERT_TRUE(rocksdb::Checkpoint::Create(db, &made).ok());
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    const std::string copy = dir_.Sub("copy" + std::to_string(i));
    const rocksdb::Status status = checkpoint->CreateCheckpoint(copy, UINT64_MAX);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_LT(fs::file_size(WalPaths(copy).back()), 200'000u);
    const auto opened = Engine::OpenReadOnly(TestOptions(copy));
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(Count(opened->get()), i);
  }
}

// Beside a running node: a write under way looks as it would at a file's end, and goes on.
TEST_F(WalFileSystemTest, AReaderBesideAWriterSeesWhatIsWritten) {
  WriteRecords({std::string(100, 'a'), std::string(100, 'b'), std::string(100, 'c')});
  const auto file_system =
      store::NewWalFileSystem(rocksdb::FileSystem::Default(), 0, WalReading::kWhileWritten);
  const std::string path = dir_.Sub("5.log");
  const std::string zeros(100'000, '\0');
  const size_t half = ends_[1] - 50;
  WriteFileBytes(path, bytes_.substr(0, half) + zeros);
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  ASSERT_TRUE(file_system->NewSequentialFile(path, {}, &file, nullptr).ok());
  EXPECT_EQ(ReadOn(file.get(), 10'000), bytes_.substr(0, half));
  EXPECT_EQ(ReadOn(file.get(), 10'000), "");
  WriteFileBytes(path, bytes_ + zeros);
  EXPECT_EQ(ReadOn(file.get(), 10'000), bytes_.substr(half));
  EXPECT_EQ(ReadOn(file.get(), 10'000), "");
}

// Whose second handles fail with `status`, after writing a part.
class FailingFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FailingFileSystem(IOStatus status)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), status_(std::move(status)) {}
  const char* Name() const override { return "FailingFileSystem"; }

  IOStatus NewRandomRWFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* out,
                           rocksdb::IODebugContext* debug) override {
    class Failing : public rocksdb::FSRandomRWFileOwnerWrapper {
     public:
      Failing(std::unique_ptr<rocksdb::FSRandomRWFile> file, IOStatus status)
          : FSRandomRWFileOwnerWrapper(std::move(file)), status_(std::move(status)) {}
      IOStatus Write(uint64_t offset, const Slice& data, const IOOptions& io,
                     rocksdb::IODebugContext* dbg) override {
        EXPECT_TRUE(target()->Write(offset, Slice(data.data(), 1000), io, dbg).ok());
        return status_;
      }

     private:
      const IOStatus status_;
    };
    std::unique_ptr<rocksdb::FSRandomRWFile> file;
    const IOStatus status = FileSystemWrapper::NewRandomRWFile(path, options, &file, debug);
    if (status.ok()) *out = std::make_unique<Failing>(std::move(file), status_);
    return status;
  }

 private:
  const IOStatus status_;
};

TEST_F(WalFileSystemTest, AFullDiskIsNoReasonNotToLog) {
  const auto file_system = store::NewWalFileSystem(
      std::make_shared<FailingFileSystem>(IOStatus::NoSpace()), 8192, WalReading::kAtRest);
  const std::string path = dir_.Sub("7.log");
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(file_system->NewWritableFile(path, {}, &file, nullptr).ok());
  for (const char* piece : {"one", "two", "three"}) {
    ASSERT_TRUE(file->Append(piece, IOOptions(), nullptr).ok());
  }
  EXPECT_EQ(ReadFileBytes(path).substr(0, 12), std::string("onetwothree\0", 12));
  ASSERT_TRUE(file->Close(IOOptions(), nullptr).ok());
  EXPECT_EQ(ReadFileBytes(path), "onetwothree");
}

TEST_F(WalFileSystemTest, ADiskThatFailsIs) {
  const auto file_system = store::NewWalFileSystem(
      std::make_shared<FailingFileSystem>(IOStatus::IOError()), 8192, WalReading::kAtRest);
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(file_system->NewWritableFile(dir_.Sub("7.log"), {}, &file, nullptr).ok());
  EXPECT_TRUE(file->Append("one", IOOptions(), nullptr).IsIOError());
}

// What RocksDB does to the last file of a recovery.
TEST_F(WalFileSystemTest, AFileThatIsOpenedAgainIsNotCut) {
  const auto file_system =
      store::NewWalFileSystem(rocksdb::FileSystem::Default(), 8192, WalReading::kAtRest);
  const std::string path = dir_.Sub("7.log");
  WriteFileBytes(path, std::string(5000, '\0'));
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(file_system->ReopenWritableFile(path, {}, &file, nullptr).ok());
  ASSERT_TRUE(file->Truncate(0, IOOptions(), nullptr).ok());
  ASSERT_TRUE(file->Close(IOOptions(), nullptr).ok());
  EXPECT_EQ(fs::file_size(path), 5000u);
}

TEST_F(WalFileSystemTest, OtherFilesAreLeftAlone) {
  const auto file_system =
      store::NewWalFileSystem(rocksdb::FileSystem::Default(), 8192, WalReading::kAtRest);
  const std::string path = dir_.Sub("7.sst");
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(file_system->NewWritableFile(path, {}, &file, nullptr).ok());
  ASSERT_TRUE(file->Append(std::string("x\0\0", 3), IOOptions(), nullptr).ok());
  EXPECT_EQ(fs::file_size(path), 3u);
  std::unique_ptr<rocksdb::FSSequentialFile> reader;
  ASSERT_TRUE(file_system->NewSequentialFile(path, {}, &reader, nullptr).ok());
  EXPECT_EQ(ReadOn(reader.get(), 100).size(), 3u);
}

}  // namespace
}  // namespace raftkv::wal
