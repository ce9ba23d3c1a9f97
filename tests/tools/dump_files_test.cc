// raftkv-dump files, and the readers behind it.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump/manifest.h"
#include "tools/dump/sst_files.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpFilesTest : public DumpTest {
 protected:
  // All of it in tables: raft_log, raft_meta and kv.
  void MakeFlushedNode() {
    MakeNode();
    node_->FlushAll();
    Crash();
  }

  // The newest table of a family, as `files` shows it.
  json TableOf(const std::string& family, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"files", "-o", "jsonl"});
    json found;
    for (const json& line : Lines(Dump(arguments).out)) {
      if (line["type"] != "file" || line["family"] != family) continue;
      if (found.is_null() || found["name"] < line["name"]) found = line;
    }
    return found;
  }

  std::string Path(const json& table) {
    return directory_ + "/db/" + table["name"].get<std::string>();
  }
};

// What a crash leaves of a flush is no damage.
TEST_F(DumpFilesTest, ATableThatIsNotPartOfTheDatabase) {
  MakeFlushedNode();
  std::ofstream(directory_ + "/db/000999.sst") << "half of a table";
  const ProgramResult text = Dump({"files", "--verify"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr("unfinished  unknown\n"));
  EXPECT_THAT(text.out, HasSubstr("1 of them are no part of the database"));
  // Without a MANIFEST it might be.
  fs::remove(directory_ + "/db/CURRENT");
  EXPECT_THAT(Dump({"files"}).out, HasSubstr("PROBLEM: 000999.sst can't be read: "));
}

TEST_F(DumpFilesTest, EveryTableWithItsRanges) {
  MakeFlushedNode();
  const auto before = Snapshot(directory_);
  const ProgramResult text = Dump({"files", "--verify"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_THAT(text.out, HasSubstr(" indexes 1 to 9\n"));
  EXPECT_EQ(Snapshot(directory_), before);

  const json log = TableOf("raft_log");
  EXPECT_EQ(log["indexes"], (json{{"first", 1}, {"last", 9}}));
  EXPECT_EQ(log["entries"], 9);
  EXPECT_EQ(log["state"], "readable");
  EXPECT_EQ(log["bytes"], fs::file_size(Path(log)));
  EXPECT_TRUE(log["level"].is_number());
  EXPECT_EQ(TableOf("raft_log", {"--verify"})["state"], "verified");
  // The first flush had revisions 2 to 4, this one the rest: "a", the transaction and the deletion.
  EXPECT_EQ(TableOf("kv")["revisions"], (json{{"first", 5}, {"last", 7}}));
}

TEST_F(DumpFilesTest, ADamagedBlockIsFoundAndTheRestIsShown) {
  MakeFlushedNode();
  const json log = TableOf("raft_log");
  FlipByte(Path(log), 100, 1);
  const ProgramResult result = Dump({"files", "--verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: " + log["name"].get<std::string>() +
                                    " of raft_log: Corruption: block checksum mismatch"));
  EXPECT_EQ(TableOf("kv", {"--verify"})["state"], "verified");
  const json damaged = TableOf("raft_log", {"--verify"});
  EXPECT_EQ(damaged["state"], "damaged");
  // What the MANIFEST and the table's properties say is still there.
  EXPECT_EQ(damaged["indexes"], log["indexes"]);
  EXPECT_EQ(damaged["entries"], log["entries"]);
}

TEST_F(DumpFilesTest, AFileThatIsCutOrMissing) {
  MakeFlushedNode();
  const std::string path = Path(TableOf("raft_log"));
  const std::string bytes = ReadFile(path);
  fs::resize_file(path, bytes.size() - 10);
  json table = TableOf("raft_log");
  EXPECT_EQ(table["state"], "damaged");
  EXPECT_THAT(Dump({"files"}).out, HasSubstr("bytes, the MANIFEST says"));
  fs::remove(path);
  table = TableOf("raft_log");
  EXPECT_EQ(table["state"], "missing");
  EXPECT_EQ(table["indexes"], (json{{"first", 1}, {"last", 9}}));
  EXPECT_EQ(Dump({"files"}).exit_code, kExitProblems);
}

TEST_F(DumpFilesTest, WithoutTheManifest) {
  MakeFlushedNode();
  const json log = TableOf("raft_log");
  fs::remove(OnlyFile("MANIFEST"));
  const ProgramResult result = Dump({"files", "--verify"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: the list of the database's files"));
  const json found = TableOf("raft_log");
  EXPECT_EQ(found["name"], log["name"]);
  EXPECT_EQ(found["level"], nullptr);
  EXPECT_EQ(found["indexes"], log["indexes"]);
  EXPECT_EQ(found["entries"], log["entries"]);
  EXPECT_EQ(TableOf("kv")["revisions"], (json{{"first", 5}, {"last", 7}}));
}

// The WAL is not looked at, so its damage does not hide the tables.
TEST_F(DumpFilesTest, WithADamagedWal) {
  MakeNode();
  Crash();
  const auto before = Lines(Dump({"files", "-o", "jsonl"}).out);
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() == ".log" && file.file_size() > 0) FlipByte(file.path(), 40, 1);
  }
  EXPECT_EQ(Dump({"meta"}).exit_code, kExitProblems);
  EXPECT_EQ(Lines(Dump({"files", "-o", "jsonl"}).out), before);
}

TEST_F(DumpFilesTest, ATableThatIsNoPartOfTheDatabase) {
  MakeFlushedNode();
  fs::copy_file(Path(TableOf("raft_log")), directory_ + "/db/999999.sst");
  const ProgramResult result = Dump({"files"});
  EXPECT_EQ(result.exit_code, kExitFine) << result.out;
  EXPECT_THAT(result.out, HasSubstr("1 of them are no part of the database"));
}

TEST_F(DumpFilesTest, TheManifestNumbersFamiliesAsAFirstStartDoes) {
  MakeFlushedNode();
  const StatusOr<Manifest> manifest = ReadManifest(directory_ + "/db");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->families, UsualFamilies());
  EXPECT_GE(manifest->tables.size(), 3u);
}

}  // namespace
}  // namespace raftkv::tools::dump
