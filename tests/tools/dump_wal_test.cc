// raftkv-dump wal, and the reader behind it.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <nlohmann/json.hpp>

#include "store/engine_files.h"
#include "tools/dump/wal_records.h"
#include "tools/dump_fixture.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpWalTest : public DumpTest {
 protected:
  // The newest WAL file that holds anything.
  store::WalFile Wal() const {
    store::WalFile newest;
    const StatusOr<std::vector<store::WalFile>> files = store::WalFiles(directory_ + "/db");
    for (const store::WalFile& file : files.value()) {
      if (fs::file_size(file.path) > 0) newest = file;
    }
    return newest;
  }

  // What is wrong with that file, as `wal` shows it.
  json DamageOf(const std::vector<json>& lines, const store::WalFile& wal) const {
    for (const json& file : OfType(lines, "file")) {
      if (file["name"] == fs::path(wal.path).filename().string())
        return file.value("damage", json());
    }
    return nullptr;
  }

  std::vector<json> OfType(const std::vector<json>& lines, const std::string& type) const {
    std::vector<json> found;
    for (const json& line : lines) {
      if (line["type"] == type) found.push_back(line);
    }
    return found;
  }
};

TEST_F(DumpWalTest, EveryRecordWithWhatItChanges) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"wal"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("put raft_log index 5 crc ok term 1 kind command bytes "));
  EXPECT_THAT(text.out, HasSubstr("crc ok term 2 vote a2 commit 8\n"));

  const std::vector<json> lines = Lines(Dump({"wal", "-o", "jsonl"}).out);
  const std::vector<json> records = OfType(lines, "record");
  ASSERT_EQ(records.size(), 2u);
  // Entries 1 to 5 and the hard state; entries 6 to 9 and the hard state.
  EXPECT_EQ(records[0]["updates"].size(), 6u);
  EXPECT_EQ(records[1]["updates"].size(), 5u);
  EXPECT_EQ(records[0]["offset"], 0);
  EXPECT_EQ(records[1]["sequence"].get<int>() - records[0]["sequence"].get<int>(), 6);
  std::vector<int> indexes;
  for (const json& record : records) {
    for (const json& update : record["updates"]) {
      if (update["family"] == "raft_log") indexes.push_back(update["index"].get<int>());
    }
  }
  EXPECT_EQ(indexes, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  const json end = lines.back();
  EXPECT_EQ(end["tail"], "clean");
  EXPECT_EQ(end["synced_before"]["offset"], records[1]["offset"]);
}

TEST_F(DumpWalTest, PartOfIt) {
  MakeNode();
  Crash();
  const auto records = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"wal", "-o", "jsonl"});
    return OfType(Lines(Dump(arguments).out), "record");
  };
  const std::vector<json> meta = records({"--family", "raft_meta"});
  ASSERT_EQ(meta.size(), 2u);
  EXPECT_EQ(meta[0]["updates"].size(), 1u);
  EXPECT_EQ(meta[0]["updates"][0]["commit"], 5);
  ASSERT_EQ(records({"--index", "7"}).size(), 1u);
  EXPECT_EQ(records({"--index", "7"})[0]["updates"].size(), 5u);
  EXPECT_EQ(records({"--index", "10"}).size(), 0u);
  EXPECT_EQ(records({"--family", "kv"}).size(), 0u);
  EXPECT_EQ(records({"--limit", "1"}).size(), 1u);
}

TEST_F(DumpWalTest, StopsAtDamageAndSaysWhere) {
  MakeNode();
  Crash();
  const store::WalFile wal = Wal();
  const auto offset = OfType(Lines(Dump({"wal", "-o", "jsonl"}).out), "record")[1]["offset"];

  // In the first record: an intact one follows.
  FlipByte(wal.path, 40, 1);
  const ProgramResult first = Dump({"wal", "-o", "jsonl"});
  EXPECT_EQ(first.exit_code, kExitProblems);
  std::vector<json> lines = Lines(first.out);
  EXPECT_EQ(OfType(lines, "record").size(), 0u);
  json damage = DamageOf(lines, wal);
  EXPECT_EQ(damage["offset"], 0);
  EXPECT_EQ(damage["intact_offset"], offset);
  EXPECT_EQ(damage["what"], "a checksum does not match");
  EXPECT_EQ(lines.back()["tail"], "damaged");
  FlipByte(wal.path, 40, 1);

  // In the last one: what a crash may leave.
  FlipByte(wal.path, offset.get<off_t>() + 40, 1);
  const ProgramResult last = Dump({"wal", "-o", "jsonl"});
  EXPECT_EQ(last.exit_code, kExitFine) << last.out;
  lines = Lines(last.out);
  EXPECT_EQ(OfType(lines, "record").size(), 1u);
  EXPECT_EQ(DamageOf(lines, wal)["offset"], offset);
  EXPECT_EQ(lines.back()["tail"], "torn");
  EXPECT_EQ(lines.back()["torn"]["offset"], offset);
  EXPECT_THAT(Dump({"wal"}).out, HasSubstr("a crash cut off a write in "));
}

// The names of families are in the MANIFEST; without it they are guessed.
TEST_F(DumpWalTest, WithoutTheManifest) {
  MakeNode();
  Crash();
  const std::string out = Dump({"wal", "-o", "jsonl"}).out;
  fs::remove(directory_ + "/db/CURRENT");
  EXPECT_EQ(Dump({"wal", "-o", "jsonl"}).out, out);
}

TEST_F(DumpWalTest, EveryKindOfChange) {
  MakeNode();
  rocksdb::DB* const db = node_->engine()->db();
  rocksdb::WriteBatch batch;
  rocksdb::ColumnFamilyHandle* const log = node_->engine()->raft_log();
  // Larger than a block of the WAL.
  const std::string value(100'000, 'v');
  ASSERT_TRUE(batch.Put(log, wal::LogKey(Index(10)), value).ok());
  ASSERT_TRUE(batch.Delete(log, wal::LogKey(Index(11))).ok());
  ASSERT_TRUE(batch.SingleDelete(log, wal::LogKey(Index(12))).ok());
  ASSERT_TRUE(batch.DeleteRange(log, wal::LogKey(Index(13)), wal::LogKey(Index(15))).ok());
  ASSERT_TRUE(db->Write(rocksdb::WriteOptions(), &batch).ok());
  Crash();

  std::vector<std::string> updates;
  uint64_t end = 0;
  const StatusOr<wal::WalFileScan> scan = ForEachWalRecord(Wal(), [&](const WalRecord& record) {
    EXPECT_TRUE(record.status.ok()) << record.status;
    EXPECT_GE(record.offset, end);
    end = record.offset + record.bytes;
    updates.clear();
    for (const WalUpdate& update : record.updates) {
      updates.push_back(std::string(WalUpdateKindName(update.kind)) + " " +
                        std::to_string(wal::ParseLogKey(update.key)->value()) + " " +
                        std::to_string(update.value.size()));
    }
  });
  ASSERT_TRUE(scan.ok());
  EXPECT_EQ(scan->damage, "");
  EXPECT_EQ(scan->report.records, 1u);
  EXPECT_EQ(updates, (std::vector<std::string>{"put 10 100000", "delete 11 0", "single-delete 12 0",
                                               "delete-range 13 8"}));
}

}  // namespace
}  // namespace raftkv::tools::dump
