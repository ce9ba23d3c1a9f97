// raftkv-dump export, and its file.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/mvcc.h"
#include "tools/dump/export_format.h"
#include "tools/dump_fixture.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpExportTest : public DumpTest {
 protected:
  DumpExportTest() : file_(temp_.path() + "/keys.jsonl") {}

  ProgramResult Export(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"export", "--out", file_, "-o", "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Dump(arguments);
  }

  // All keys of the file; why they can't be had.
  StatusOr<std::vector<ExportedKey>> Read() {
    RAFTKV_ASSIGN_OR_RETURN(const auto reader, ExportReader::Open(file_));
    std::vector<ExportedKey> keys(1);
    for (;;) {
      RAFTKV_ASSIGN_OR_RETURN(const bool more, reader->Next(&keys.back()));
      if (!more) break;
      keys.emplace_back();
    }
    keys.pop_back();
    return keys;
  }

  void Write(const std::string& text) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << text;
  }

  const std::string file_;
};

TEST_F(DumpExportTest, HasWhatOnlyTheLogHolds) {
  MakeNode();
  Crash();
  const auto before = Snapshot(directory_);
  const ProgramResult result = Export();
  ASSERT_EQ(result.exit_code, kExitFine) << result.out << result.err;
  EXPECT_EQ(json::parse(result.out)["keys"], 3);
  EXPECT_EQ(json::parse(result.out)["index"], 9);
  ExpectGolden("export.jsonl", ReadFile(file_));
  const auto keys = Read();
  ASSERT_TRUE(keys.ok()) << keys.status().ToString();
  ASSERT_EQ(keys->size(), 3u);
  EXPECT_EQ((*keys)[0].value, "2");
  EXPECT_EQ((*keys)[0].mod_revision, 5);
  EXPECT_EQ((*keys)[1].key, std::string("b\0\xff", 3));
  EXPECT_EQ((*keys)[1].value, "two\nlines");
  EXPECT_EQ(Snapshot(directory_), before);
  EXPECT_FALSE(fs::exists(file_ + ".part"));
}

TEST_F(DumpExportTest, AtAnEarlierPoint) {
  MakeNode();
  Crash();
  ASSERT_EQ(Export({"--to", "commit"}).exit_code, kExitFine);
  EXPECT_EQ(Read()->size(), 4u);
  ASSERT_EQ(Export({"--to", "revision:2"}).exit_code, kExitFine);
  EXPECT_EQ(Read()->size(), 1u);
  ASSERT_EQ(Export({"--to", "index:4", "--prefix", "b"}).exit_code, kExitFine);
  EXPECT_EQ(Read()->size(), 1u);
}

TEST_F(DumpExportTest, AsEtcdctlPrintsIt) {
  MakeNode();
  Crash();
  ASSERT_EQ(Export({"--format", "etcdctl"}).exit_code, kExitFine);
  const json all = json::parse(ReadFile(file_));
  EXPECT_EQ(all["count"], 3);
  EXPECT_EQ(all["header"]["revision"], 7);
  EXPECT_EQ(all["kvs"][1]["key"], Base64(std::string("b\0\xff", 3)));
  EXPECT_EQ(all["kvs"][0]["mod_revision"], 5);
}

TEST_F(DumpExportTest, ADamagedRecordLeavesTheRestAndSaysSo) {
  MakeNode();
  node_->FlushAll();
  std::string data_key = store::DataKey("txn", {6, 0});
  node_->Overwrite(node_->engine()->kv().get(), data_key,
                   [](std::string* record) { record->back() ^= 1; });
  node_->FlushAll();
  Crash();
  const ProgramResult result = Export();
  EXPECT_EQ(result.exit_code, kExitProblems) << result.out << result.err;
  const auto reader = ExportReader::Open(file_).value();
  ExportedKey key;
  while (reader->Next(&key).value()) EXPECT_NE(key.key, "txn");
  EXPECT_FALSE(reader->end().complete);
  EXPECT_EQ(reader->end().keys, 2u);
}

TEST_F(DumpExportTest, AFileThatIsNotWholeIsFoundOut) {
  MakeNode();
  Crash();
  ASSERT_EQ(Export().exit_code, kExitFine);
  const std::string whole = ReadFile(file_);
  // Cut at every byte but the last newline, which says nothing.
  for (size_t cut = 0; cut + 1 < whole.size(); ++cut) {
    Write(whole.substr(0, cut));
    EXPECT_FALSE(Read().ok()) << cut;
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 2);
    Write(changed);
    const auto keys = Read();
    // Spelling and cluster id of the header are in the digest too.
    EXPECT_FALSE(keys.ok()) << at << ": " << changed;
  }
  Write(whole + "{}\n");
  EXPECT_FALSE(Read().ok());
}

}  // namespace
}  // namespace raftkv::tools::dump
