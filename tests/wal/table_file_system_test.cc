// Damage in the part of a table that RocksDB reads before it checks it.
#include "store/table_file_system.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>

#include "common/coding.h"
#include "store/engine.h"
#include "store/engine_options.h"
#include "store/wal_file_system.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;

class TableFileSystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const rocksdb::Options options = store::StagedTableOptions();
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
    ASSERT_TRUE(writer.Open(path_).ok());
    for (int i = 100; i < 150; ++i) {
      ASSERT_TRUE(writer.Put("key" + std::to_string(i), std::string(20, 'v')).ok());
    }
    ASSERT_TRUE(writer.Finish().ok());
    bytes_ = ReadFileBytes(path_);
  }

  void Write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  static rocksdb::Status ReadAll(const std::string& path) {
    rocksdb::SstFileReader reader(store::StagedTableOptions());
    const rocksdb::Status opened = reader.Open(path);
    return opened.ok() ? reader.VerifyChecksum() : opened;
  }

  TempDir dir_;
  const std::string path_ = dir_.Sub("000007.sst");
  std::string bytes_;
};

TEST_F(TableFileSystemTest, AWholeTableIsRead) { EXPECT_TRUE(ReadAll(path_).ok()); }

// Not one of these may end the process, which an assertion of RocksDB's did for those in the last
// bytes of the properties.
TEST_F(TableFileSystemTest, EveryFlippedBitIsDamage) {
  for (size_t at = 0; at < bytes_.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = bytes_;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      Write(bytes);
      const rocksdb::Status status = ReadAll(path_);
      ASSERT_TRUE(status.IsCorruption()) << "byte " << at << " of " << bytes.size() << ", bit "
                                         << bit << ": " << status.ToString();
    }
  }
}

TEST_F(TableFileSystemTest, ATableThatIsCutOffIsDamage) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    Write(bytes_.substr(0, size));
    const rocksdb::Status status = ReadAll(path_);
    ASSERT_TRUE(status.IsCorruption()) << size << ": " << status.ToString();
  }
}

// The smallest form of what simulator seed 4268647725 met: a node is refused, by name of the file.
TEST_F(TableFileSystemTest, ANodeWithDamagedPropertiesDoesNotStart) {
  const std::string db = dir_.Sub("db");
  ASSERT_TRUE(BootstrapNode(db).ok());
  std::string table;
  for (const auto& file : fs::directory_iterator(db)) {
    if (file.path().extension() == ".sst") table = file.path();
  }
  ASSERT_FALSE(table.empty());
  std::string bytes = ReadFileBytes(table);
  // The properties are the block before the list of meta blocks. The number of restarts ends it,
  // before five bytes of trailer, and its highest bit says "hash index".
  std::string_view footer = std::string_view(bytes).substr(bytes.size() - 53 + 1);
  uint64_t list_at = 0;
  ASSERT_TRUE(ConsumeVarint(&footer, &list_at));
  bytes[list_at - 6] = static_cast<char>(bytes[list_at - 6] ^ 0x80);
  std::ofstream(table, std::ios::binary | std::ios::trunc) << bytes;

  const auto engine = store::Engine::Open(TestOptions(db));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), Code::kCorruption);
  EXPECT_NE(engine.status().message().find(fs::path(table).filename()), std::string::npos)
      << engine.status();
  EXPECT_NE(engine.status().message().find("properties"), std::string::npos) << engine.status();
}

}  // namespace
}  // namespace raftkv::wal
