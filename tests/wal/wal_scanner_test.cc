// The scanner against WAL files that RocksDB wrote, and then were cut, flipped, zeroed and padded.
#include "wal/wal_scanner.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "common/coding.h"
#include "common/crc32c.h"
#include "common/rng.h"
#include "store/wal_format.h"
#include "wal/keys.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using store::Engine;
using store::WalRecovery;

std::string RandomBytes(Rng* rng, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(rng->Next()));
  return out;
}

void SetByte(const std::string& path, size_t at, char byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

// Where a record lies: file (position in the list of WAL files) and bytes [begin, end).
struct RecordPlace {
  size_t file = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// A node's directory as kill -9 leaves it: record i of the WAL puts index i+1 into raft_log.
class WalScannerTest : public ::testing::Test {
 protected:
  // Writes one synced record for each size; before the records listed in `new_file_before`, the WAL
  // moves on to a new file.
  void WriteRecords(const std::vector<size_t>& sizes, const std::vector<size_t>& new_file_before) {
    const std::string live = dir_.Sub("live");
    ASSERT_TRUE(BootstrapNode(live).ok());
    {
      auto engine = Engine::Open(TestOptions(live));
      ASSERT_TRUE(engine.ok()) << engine.status();
      Rng rng(7);
      for (size_t i = 0; i < sizes.size(); ++i) {
        for (const size_t at : new_file_before) {
          if (at == i) StartNewWalFile(engine->get());
        }
        const uint64_t begin = LogBytes(WalPaths(live).back());
        rocksdb::WriteOptions write;
        ASSERT_TRUE((*engine)
                        ->db()
                        ->Put(write, (*engine)->raft_log(), LogKey(Index(i + 1)),
                              RandomBytes(&rng, sizes[i]))
                        .ok());
        ASSERT_TRUE((*engine)->db()->SyncWAL().ok());
        const std::string wal = WalPaths(live).back();
        if (wals_.empty() || wals_.back() != wal) wals_.push_back(wal);
        places_.push_back({wals_.size() - 1, begin, LogBytes(wal)});
      }
      CopyDirectory(live, db_);
    }
    // What is written ahead has tests of its own (wal_file_system_test.cc).
    for (const std::string& path : WalPaths(db_)) CutZeros(path);
    // Opening leaves an empty file of the bootstrap behind; without it counting is easier.
    for (const std::string& path : WalPaths(db_)) {
      if (fs::file_size(path) == 0) fs::remove(path);
    }
    wals_ = WalPaths(db_);
    newest_ = wals_.back();
    bytes_ = ReadFileBytes(newest_);
  }

  // Flushing kv begins a new WAL file while raft_log still needs the old.
  static void StartNewWalFile(Engine* engine) {
    rocksdb::WriteOptions write;
    write.disableWAL = true;
    ASSERT_TRUE(engine->db()->Put(write, engine->kv().get(), "k", "v").ok());
    ASSERT_TRUE(engine->FlushKv().ok());
  }

  // Opens with the verdict; the indexes found must be 1..n, n is returned.
  size_t RecordsAfterOpening(WalRecovery recovery) {
    store::EngineOptions options = TestOptions(db_);
    options.wal_recovery = recovery;
    auto engine = Engine::OpenReadOnly(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return SIZE_MAX;
    std::unique_ptr<rocksdb::Iterator> it(
        (*engine)->db()->NewIterator(rocksdb::ReadOptions(), (*engine)->raft_log()));
    size_t count = 0;
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      EXPECT_EQ(it->key().ToString(), LogKey(Index(++count)));
    }
    return count;
  }

  TempDir dir_{TempDir::kMemory};
  std::string db_ = dir_.Sub("db");
  std::vector<RecordPlace> places_;
  std::vector<std::string> wals_;
  std::string newest_;
  std::string bytes_;  // of the newest
};

// Small ones, one that fills the first block to its trailer's edge, and some of several blocks.
const std::vector<size_t> kSizes{10,    0,   700, 31000, 20,   100,  70000, 5,
                                 32700, 300, 1,   12000, 9000, 8000, 2500,  400};

TEST_F(WalScannerTest, CleanFilesAreClean) {
  WriteRecords(kSizes, {5, 9});
  ASSERT_EQ(wals_.size(), 3u);
  const auto scan = ScanWalFiles(db_);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->recovery, WalRecovery::kClean);
  ASSERT_EQ(scan->files.size(), 3u);
  EXPECT_EQ(scan->files[0].records, 5u);
  EXPECT_EQ(scan->files[1].records, 4u);
  EXPECT_EQ(scan->files[2].records, 7u);
  for (const WalFileReport& file : scan->files) {
    EXPECT_EQ(file.writes, file.records);
    EXPECT_EQ(file.valid_bytes, file.bytes) << file.name;
  }
  EXPECT_EQ(RecordsAfterOpening(scan->recovery), kSizes.size());
}

// Whatever the byte at which the newest file was cut: never refused, and exactly the records that
// end before the cut are there.
TEST_F(WalScannerTest, ATailCutAtAnyByteIsTornAndLosesNothingBeforeIt) {
  WriteRecords({10, 0, 700, 31000, 20, 100, 5, 33000, 300, 1, 400}, {3});
  size_t opened = 0;
  for (uint64_t cut = bytes_.size(); cut > 0; --cut) {
    fs::resize_file(newest_, cut - 1);
    const uint64_t size = cut - 1;
    size_t whole = 3;
    bool at_end = size == 0;
    bool near_boundary = size % store::kWalBlockBytes < 12 ||
                         size % store::kWalBlockBytes > store::kWalBlockBytes - 12;
    for (const RecordPlace& place : places_) {
      if (place.file != 1) continue;
      if (place.end <= size) ++whole;
      // A block's trailer belongs to the record before it, once it is there to the end.
      const uint64_t block_end =
          (place.end + store::kWalBlockBytes - 1) / store::kWalBlockBytes * store::kWalBlockBytes;
      if (size == place.end || (size == block_end && block_end - place.end < 7)) at_end = true;
      if (size + 8 >= place.end && size <= place.end + 8) near_boundary = true;
    }
    const auto scan = ScanWalFiles(db_);
    ASSERT_TRUE(scan.ok()) << "cut to " << size << ": " << scan.status();
    ASSERT_EQ(scan->recovery, at_end ? WalRecovery::kClean : WalRecovery::kTornTail)
        << "cut to " << size;
    ASSERT_EQ(scan->files[0].records + scan->files[1].records, whole) << "cut to " << size;
    if (scan->recovery == WalRecovery::kTornTail) {
      ASSERT_EQ(scan->torn_file, fs::path(newest_).filename().string());
      ASSERT_EQ(scan->torn_offset + scan->torn_bytes, size);
    }
    // RocksDB itself is asked wherever something could go wrong by one, and here and there.
    if (near_boundary || size % 1009 == 0) {
      ++opened;
      ASSERT_EQ(RecordsAfterOpening(scan->recovery), whole) << "cut to " << size;
    }
  }
  EXPECT_GT(opened, 200u);
}

// A flipped bit with anything behind it is refused. In the last record nothing is behind it: that
// looks like a torn write, and only that record goes.
TEST_F(WalScannerTest, AFlippedBitIsRefusedUnlessNothingFollows) {
  WriteRecords(kSizes, {5, 9});
  for (size_t file = 0; file < wals_.size(); ++file) {
    const std::string bytes = ReadFileBytes(wals_[file]);
    for (size_t at = 0; at < bytes.size(); at += (at % 5 == 0 ? 61 : 47)) {
      SetByte(wals_[file], at, static_cast<char>(bytes[at] ^ (1 << (at % 8))));
      bool in_record = false;
      for (const RecordPlace& place : places_) {
        if (place.file == file && place.begin <= at && at < place.end) in_record = true;
      }
      const bool in_last = file == places_.back().file && at >= places_.back().begin;
      const auto scan = ScanWalFiles(db_);
      if (in_last) {
        ASSERT_TRUE(scan.ok()) << at << ": " << scan.status();
        ASSERT_EQ(scan->recovery, WalRecovery::kTornTail) << at;
        ASSERT_EQ(scan->files[2].records, kSizes.size() - 9 - 1) << at;
      } else if (in_record) {
        ASSERT_FALSE(scan.ok()) << "file " << file << " offset " << at;
        ASSERT_EQ(scan.status().code(), Code::kCorruption);
        ASSERT_NE(scan.status().message().find(fs::path(wals_[file]).filename().string()),
                  std::string::npos);
      }
      SetByte(wals_[file], at, bytes[at]);
    }
  }
}

// Every bit of the smallest records, headers included.
TEST_F(WalScannerTest, EveryBitOfARecordInTheMiddleCounts) {
  WriteRecords({3, 1, 0, 2, 40}, {});
  for (size_t bit = places_[1].begin * 8; bit < places_[3].end * 8; ++bit) {
    SetByte(newest_, bit / 8, static_cast<char>(bytes_[bit / 8] ^ (1 << (bit % 8))));
    ASSERT_FALSE(ScanWalFiles(db_).ok()) << "bit " << bit;
    SetByte(newest_, bit / 8, bytes_[bit / 8]);
  }
}

TEST_F(WalScannerTest, AZeroedPageIsRefusedUnlessNothingFollows) {
  WriteRecords(kSizes, {5});
  for (const size_t page : {size_t{512}, size_t{4096}, size_t{store::kWalBlockBytes}}) {
    for (size_t at = 0; at < bytes_.size(); at += page) {
      std::string zeroed = bytes_;
      const size_t size = std::min(page, bytes_.size() - at);
      zeroed.replace(at, size, size, '\0');
      WriteFileBytes(newest_, zeroed);
      const auto scan = ScanWalFiles(db_);
      // The last record is one chunk: if it begins behind the page, it is intact.
      if (places_.back().begin >= at + size) {
        ASSERT_FALSE(scan.ok()) << page << " bytes at " << at;
      } else {
        ASSERT_TRUE(scan.ok()) << page << " bytes at " << at << ": " << scan.status();
        // From a record's end on nothing can be told from what was never written.
        bool at_end = false;
        for (const RecordPlace& place : places_) {
          const bool zeros_follow = zeroed.find_first_not_of('\0', place.end) == std::string::npos;
          if (place.file == 1 && place.end <= at && zeros_follow) at_end = true;
        }
        ASSERT_EQ(scan->recovery, at_end ? WalRecovery::kClean : WalRecovery::kTornTail);
      }
    }
  }
}

// A power failure may write the pages of one unsynced write in any order.
TEST_F(WalScannerTest, AWriteThatWasCutOffMayHaveHoles) {
  WriteRecords({10, 150'000}, {});
  const uint64_t begin = places_.back().begin;
  Rng rng(5);
  for (const size_t page : {size_t{512}, size_t{4096}}) {
    for (size_t holes = 1; holes < 40; ++holes) {
      std::string torn = bytes_;
      for (size_t i = 0; i < holes; ++i) {
        const size_t first = (begin + page - 1) / page;
        const size_t at = (first + rng.Below(bytes_.size() / page - first)) * page;
        torn.replace(at, page, page, '\0');
      }
      // The page that it begins in has the end of the record before it: that is there, or all of
      // it.
      if (holes % 2 == 0) torn.replace(begin, page - begin % page, page - begin % page, '\0');
      WriteFileBytes(newest_, torn);
      const auto scan = ScanWalFiles(db_);
      ASSERT_TRUE(scan.ok()) << holes << " holes of " << page << ": " << scan.status();
      ASSERT_EQ(scan->recovery, WalRecovery::kTornTail);
      ASSERT_EQ(scan->torn_offset, begin);
      ASSERT_EQ(RecordsAfterOpening(scan->recovery), 1u);
    }
  }
}

TEST_F(WalScannerTest, AHoleIsRefusedWhenMoreThanItsRecordFollows) {
  WriteRecords({10, 150'000, 150'000}, {});
  std::string torn = bytes_;
  torn.replace(8192, 4096, 4096, '\0');
  WriteFileBytes(newest_, torn);
  EXPECT_FALSE(ScanWalFiles(db_).ok());
  // The beginning of the next one is lost as well: what is left of it is the rest of a record too.
  torn.replace(places_[2].begin, 40'000, 40'000, '\0');
  WriteFileBytes(newest_, torn);
  EXPECT_FALSE(ScanWalFiles(db_).ok());
}

// The sector before the hole has its first bytes, a part of its header.
TEST_F(WalScannerTest, AHoleMayBeginInsideAHeader) {
  WriteRecords({476, 150'000}, {});
  const uint64_t begin = places_.back().begin;
  ASSERT_EQ(begin % 512, 508u);
  std::string torn = bytes_;
  torn.replace(begin, 4, 4, '\0');
  WriteFileBytes(newest_, torn);
  const auto scan = ScanWalFiles(db_);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->recovery, WalRecovery::kTornTail);
  EXPECT_EQ(scan->torn_offset, begin);
}

// It is whole in its block, so it has no rest: what follows is another's, written when this one was
// synced.
TEST_F(WalScannerTest, AHoleInARecordOfOneChunkIsDamageWhereAnythingFollows) {
  WriteRecords({30'000, 1'000, 1'000, 20'000}, {});
  ASSERT_LT(places_[3].begin, store::kWalBlockBytes);
  ASSERT_GT(places_[3].end, store::kWalBlockBytes);
  std::string torn = bytes_;
  const uint64_t hole = places_[1].begin / 512 * 512 + 512;
  torn.replace(hole, places_[3].begin + 100 - hole, places_[3].begin + 100 - hole, '\0');
  WriteFileBytes(newest_, torn);
  EXPECT_FALSE(ScanWalFiles(db_).ok());
}

// Zeros are what was not written; other bytes were, and changed since.
TEST_F(WalScannerTest, OtherBytesInFrontOfARecordsRestAreDamage) {
  WriteRecords({10, 150'000}, {});
  for (size_t at = places_.back().begin; at < 4 * store::kWalBlockBytes; at += 1009) {
    SetByte(newest_, at, static_cast<char>(bytes_[at] ^ 4));
    ASSERT_FALSE(ScanWalFiles(db_).ok()) << at;
    SetByte(newest_, at, bytes_[at]);
  }
}

TEST_F(WalScannerTest, ATailOfZerosIsClean) {
  WriteRecords(kSizes, {});
  for (const size_t size : {1, 6, 7, 40000, 200000}) {
    WriteFileBytes(newest_, bytes_ + std::string(size, '\0'));
    const auto scan = ScanWalFiles(db_);
    ASSERT_TRUE(scan.ok()) << scan.status();
    EXPECT_EQ(scan->recovery, WalRecovery::kClean);
    EXPECT_EQ(scan->files.back().bytes, bytes_.size());
    EXPECT_EQ(RecordsAfterOpening(scan->recovery), kSizes.size());
  }
}

TEST_F(WalScannerTest, ATailOfGarbageIsTornAndCostsNothing) {
  WriteRecords(kSizes, {});
  Rng rng(3);
  std::vector<std::string> tails{"x"};
  for (const size_t size : {1, 6, 7, 8, 100, 4096, 32768, 150000}) {
    tails.push_back(RandomBytes(&rng, size));
    tails.push_back(std::string(100, '\0') + RandomBytes(&rng, size));
    tails.push_back(std::string(size, '\xff'));
    tails.push_back(std::string(size, '\x01'));
  }
  for (const std::string& tail : tails) {
    WriteFileBytes(newest_, bytes_ + tail);
    const auto scan = ScanWalFiles(db_);
    ASSERT_TRUE(scan.ok()) << scan.status();
    EXPECT_EQ(scan->recovery, WalRecovery::kTornTail);
    EXPECT_EQ(scan->torn_offset, bytes_.size());
    EXPECT_EQ(scan->torn_bytes, tail.size());
    EXPECT_EQ(RecordsAfterOpening(scan->recovery), kSizes.size());
  }
}

// The search tries every byte: what lies behind damage need not lie where a chunk would begin.
TEST_F(WalScannerTest, AnIntactChunkAtAnyDistanceBehindGarbageIsFound) {
  WriteRecords({10, 50, 100}, {});
  const std::string chunk = bytes_.substr(places_[1].begin, places_[1].end - places_[1].begin);
  Rng rng(11);
  for (size_t distance = 1; distance < 300; ++distance) {
    WriteFileBytes(newest_, bytes_ + RandomBytes(&rng, distance) + chunk);
    const auto scan = ScanWalFiles(db_);
    ASSERT_FALSE(scan.ok()) << distance;
    EXPECT_NE(scan.status().message().find("the first at offset " +
                                           std::to_string(bytes_.size() + distance)),
              std::string::npos)
        << scan.status();
  }
  // Several blocks on, behind zeros.
  const std::string gap(3 * store::kWalBlockBytes - bytes_.size() + 1234, '\0');
  WriteFileBytes(newest_, bytes_ + gap + chunk);
  EXPECT_FALSE(ScanWalFiles(db_).ok());
}

TEST_F(WalScannerTest, ARecordWithoutItsBeginningIsRefused) {
  WriteRecords({10, 100000, 20}, {});
  // Every chunk that remains is intact.
  WriteFileBytes(newest_, bytes_.substr(store::kWalBlockBytes));
  const auto scan = ScanWalFiles(db_);
  ASSERT_FALSE(scan.ok());
  EXPECT_NE(scan.status().message().find("a record's start is missing"), std::string::npos);
}

TEST_F(WalScannerTest, ARecordWithoutItsEndIsRefusedWhenMoreFollows) {
  WriteRecords({10, 100000, 20}, {});
  // The block that ends the second record is replaced by one that begins with the third.
  const size_t cut = places_[1].end / store::kWalBlockBytes * store::kWalBlockBytes;
  WriteFileBytes(newest_, bytes_.substr(0, cut) + bytes_.substr(places_[2].begin));
  const auto scan = ScanWalFiles(db_);
  ASSERT_FALSE(scan.ok());
  EXPECT_NE(scan.status().message().find("before the last one's end"), std::string::npos);
}

// What a crash may leave behind a torn file: RocksDB's next one, with nothing of ours in it.
TEST_F(WalScannerTest, AnUnusedFileMayFollowATornOneAndAWrittenOneMayNot) {
  WriteRecords({10, 20, 30}, {});
  fs::resize_file(newest_, bytes_.size() - 5);
  const std::string next = db_ + "/999999.log";
  // A batch: sequence 9, no updates.
  std::string payload;
  AppendLittleEndian64(&payload, 9);
  AppendLittleEndian32(&payload, 0);
  auto as_chunk = [](const std::string& data) {
    const uint32_t crc = Crc32c("\x01" + data);
    std::string out;
    AppendLittleEndian32(&out, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
    out.push_back(static_cast<char>(data.size()));
    out.push_back(0);
    return out + "\x01" + data;
  };
  const std::string no_updates = as_chunk(payload);
  for (const std::string& unused :
       {std::string(), std::string(5000, '\0'), no_updates, no_updates.substr(0, 9),
        no_updates + std::string(40, '\0'), no_updates.substr(0, 9) + std::string(10, '\0'),
        no_updates.substr(0, 9) + std::string(5000, '\0')}) {
    WriteFileBytes(next, unused);
    const auto scan = ScanWalFiles(db_);
    ASSERT_TRUE(scan.ok()) << unused.size() << ": " << scan.status();
    EXPECT_EQ(scan->recovery, WalRecovery::kTornTail);
    EXPECT_EQ(scan->torn_file, fs::path(newest_).filename().string());
    EXPECT_EQ(RecordsAfterOpening(scan->recovery), 2u);
  }
  payload[8] = 1;
  for (const std::string& used :
       {as_chunk(payload), no_updates + as_chunk(payload), as_chunk(payload) + "torn",
        std::string(100, 'x'), as_chunk(payload) + std::string(5000, '\0')}) {
    WriteFileBytes(next, used);
    EXPECT_FALSE(ScanWalFiles(db_).ok()) << used.size();
  }
}

TEST_F(WalScannerTest, NoFilesAndEmptyFilesAreClean) {
  WriteRecords({10}, {});
  WriteFileBytes(db_ + "/999998.log", "");
  WriteFileBytes(db_ + "/999999.log", "");
  EXPECT_EQ(ScanWalFiles(db_)->recovery, WalRecovery::kClean);
  EXPECT_EQ(RecordsAfterOpening(WalRecovery::kClean), 1u);
  for (const std::string& path : WalPaths(db_)) fs::remove(path);
  EXPECT_EQ(ScanWalFiles(db_)->recovery, WalRecovery::kClean);
  EXPECT_EQ(ScanWalFiles(dir_.Sub("nothing")).status().code(), Code::kNotFound);
}

// Options we do not use, read all the same.
TEST(WalScanner, ReadsCompressedAndRecycledFiles) {
  for (const bool recycle : {false, true}) {
    TempDir dir;
    rocksdb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = 64 << 10;
    if (recycle) {
      options.recycle_log_file_num = 2;
    } else {
      options.wal_compression = rocksdb::kZSTD;
    }
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, dir.Sub("db"), &raw).ok());
    std::unique_ptr<rocksdb::DB> db(raw);
    Rng rng(5);
    // Enough for files to be used a second time.
    for (int round = 0; round < 6; ++round) {
      for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(db->Put({}, std::to_string(i), RandomBytes(&rng, 1000 + i * 100)).ok());
      }
      ASSERT_TRUE(db->Flush({}).ok());
    }
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(db->Put({}, std::to_string(i), RandomBytes(&rng, 5000)).ok());
    }
    CopyDirectory(dir.Sub("db"), dir.Sub("copy"));
    const auto scan = ScanWalFiles(dir.Sub("copy"));
    ASSERT_TRUE(scan.ok()) << scan.status();
    EXPECT_EQ(scan->recovery, WalRecovery::kClean);
    EXPECT_EQ(scan->files.back().records, 7u);
    // Damage in the middle is seen in these as well.
    const std::string newest = WalPaths(dir.Sub("copy")).back();
    std::string bytes = ReadFileBytes(newest);
    bytes[6000] = static_cast<char>(bytes[6000] ^ 1);
    WriteFileBytes(newest, bytes);
    EXPECT_FALSE(ScanWalFiles(dir.Sub("copy")).ok());
  }
}

TEST(WalScanner, SurvivesAnyInput) {
  TempDir dir;
  const std::string path = dir.Sub("000007.log");
  Rng rng(2026);
  size_t refused = 0, torn = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = RandomBytes(&rng, rng.Below(round % 50 == 0 ? 100000 : 300));
    // Mostly plausible headers: small lengths and known types.
    for (size_t at = 4; at + 2 < bytes.size(); at += 7 + rng.Below(20)) {
      bytes[at] = static_cast<char>(rng.Below(16));
      bytes[at + 1] = 0;
      bytes[at + 2] = static_cast<char>(rng.Below(12));
    }
    WriteFileBytes(path, bytes);
    const auto scan = ScanWalFiles(dir.path());
    if (!scan.ok()) {
      ++refused;
    } else if (scan->recovery == WalRecovery::kTornTail) {
      ++torn;
    }
  }
  EXPECT_EQ(refused, 0u);
  EXPECT_GT(torn, 2900u);
}

TEST(WalFormat, FindsAChunkOfAnyLengthAtAnyPlaceAndNothingElse) {
  Rng rng(99);
  for (int round = 0; round < 200; ++round) {
    std::string block = RandomBytes(&rng, store::kWalBlockBytes);
    if (round % 2 == 0) std::fill(block.begin(), block.end(), static_cast<char>(round));
    ASSERT_EQ(store::FindIntactWalChunk(block, 0, 7), std::nullopt) << round;
    const size_t length = round < 20 ? round : rng.Below(store::kWalBlockBytes - 20);
    const size_t at = rng.Below(store::kWalBlockBytes - length - 7);
    const uint8_t type = static_cast<uint8_t>(1 + rng.Below(4));
    block[at + 4] = static_cast<char>(length);
    block[at + 5] = static_cast<char>(length >> 8);
    block[at + 6] = static_cast<char>(type);
    const uint32_t crc = Crc32c(std::string_view(block).substr(at + 6, length + 1));
    std::string masked;
    AppendLittleEndian32(&masked, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
    block.replace(at, 4, masked);
    ASSERT_EQ(store::FindIntactWalChunk(block, 0, 7), at) << "length " << length;
    ASSERT_EQ(store::FindIntactWalChunk(block, at, 7), at);
    ASSERT_EQ(store::FindIntactWalChunk(block, at + 1, 7), std::nullopt);
  }
}

}  // namespace
}  // namespace raftkv::wal
