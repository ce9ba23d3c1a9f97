// tests/testdata/golden-v1, the directory that says what the format is (tests/testdata/README.md).
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/identity_codec.h"
#include "tools/dump_fixture.h"
#include "tools/golden_directory.h"
#include "tools/new_node.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const char kGolden[] = RAFTKV_SOURCE_DIR "/tests/testdata/golden-v1";

class DumpGoldenTest : public DumpTest {
 protected:
  ProgramResult DumpOf(const std::string& directory, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin() + 1, directory);
    return RunProgram(RAFTKV_DUMP, arguments, temp_.path());
  }

  // All that the commands say of a directory's contents.
  std::string Everything(const std::string& directory) {
    std::string text;
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"log", "--values"},
                                               {"keys"},
                                               {"keys", "--replay", "--through", "last"},
                                               {"history", "s", "--values"}}) {
      std::string line = "$ raftkv-dump";
      for (const std::string& word : command) line += " " + word;
      const ProgramResult result = DumpOf(directory, command);
      EXPECT_EQ(result.exit_code, kExitFine) << line << "\n" << result.out << result.err;
      text += line + "\n" + result.out + "\n";
    }
    return text;
  }

  std::string Copy(const std::string& name) {
    const std::string copy = temp_.path() + "/" + name;
    fs::copy(kGolden, copy, fs::copy_options::recursive);
    return copy;
  }
};

TEST_F(DumpGoldenTest, IsReadAsItAlwaysWas) {
  const auto before = Snapshot(kGolden);
  ExpectGolden("golden-v1.txt", Everything(kGolden));
  EXPECT_EQ(Snapshot(kGolden), before);
  const ProgramResult meta = DumpOf(kGolden, {"meta"});
  EXPECT_EQ(meta.exit_code, kExitFine) << meta.out;
}

// What this version writes is still what was written then.
TEST_F(DumpGoldenTest, TheGeneratorMakesTheSame) {
  const std::string scratch = temp_.path() + "/scratch";
  fs::create_directory(scratch);
  const char* keep = std::getenv("RAFTKV_WRITE_GOLDEN");
  const std::string made = keep != nullptr ? keep : temp_.path() + "/made";
  MakeGoldenDirectory(made, scratch);
  EXPECT_EQ(Everything(made),
            ReadFile(std::string(RAFTKV_SOURCE_DIR) + "/tests/testdata/dump/golden-v1.txt"));
}

TEST_F(DumpGoldenTest, ANodeOpensIt) {
  const std::string copy = Copy("copy");
  store::EngineOptions options;
  options.path = copy + "/db";
  const auto engine = store::Engine::Open(options).value();
  EXPECT_EQ(engine->identity().node_name, kGoldenName);
  const wal::RecoveredLog log = wal::LogStore(engine.get()).Recover().value();
  EXPECT_EQ(log.first, Index(11));
  EXPECT_EQ(log.last, Index(18));
  EXPECT_EQ(log.configs.size(), 2u);
  const auto kv = store::KvStore::Open(engine.get()).value();
  EXPECT_EQ(kv->applied().position.index, Index(13));
}

TEST_F(DumpGoldenTest, ANewerFormatIsRefused) {
  const std::string copy = Copy("newer");
  store::EngineOptions options;
  options.path = copy + "/db";
  {
    const auto engine = store::Engine::Open(options).value();
    store::NodeIdentity identity = engine->identity();
    identity.format_version = store::kFormatVersion + 1;
    rocksdb::WriteOptions write;
    write.sync = true;
    ASSERT_TRUE(engine->db()
                    ->Put(write, engine->raft_meta(), std::string(store::kIdentityKey),
                          store::EncodeIdentity(identity))
                    .ok());
    ASSERT_TRUE(engine->FlushAll().ok());
  }
  const auto before = Snapshot(copy);
  const auto opened = store::Engine::Open(options);
  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"meta"},
           {"log"},
           {"keys"},
           {"export", "--out", temp_.path() + "/keys"},
           {"replay", "--to", "last", "--out", temp_.path() + "/replayed"},
           {"salvage", "--out", temp_.path() + "/salvaged"}}) {
    const ProgramResult result = DumpOf(copy, command);
    EXPECT_EQ(result.exit_code, kExitCouldNotRun) << command.front() << result.out;
    EXPECT_THAT(result.err, HasSubstr("the directory has format version 2, this program knows up "
                                      "to 1"));
  }
  EXPECT_FALSE(fs::exists(temp_.path() + "/salvaged"));
}

std::string FromSpacedHex(const std::string& text) {
  std::string digits = std::regex_replace(text, std::regex(" "), "");
  return FromHex(digits).value_or("not hexadecimal: " + text);
}

// docs/on-disk-format.md has records of this directory, byte by byte:
//
//     raft_log 00 00 00 00 00 00 00 0b
//       01 02         what these bytes are
TEST_F(DumpGoldenTest, TheExamplesInTheDocumentAreFromIt) {
  const std::string copy = Copy("documented");
  store::EngineOptions options;
  options.path = copy + "/db";
  const auto engine = store::Engine::OpenReadOnly(options).value();
  const std::map<std::string, rocksdb::ColumnFamilyHandle*> families = {
      {"raft_meta", engine->raft_meta()},
      {"raft_log", engine->raft_log()},
      {"kv.1", engine->kv().get()}};
  std::istringstream document(ReadFile(std::string(RAFTKV_SOURCE_DIR) + "/docs/on-disk-format.md"));
  const std::regex head("    (raft_meta|raft_log|kv\\.1) ((?:[0-9a-f]{2} ?)+)(?:  .*)?");
  const std::regex bytes("      ((?:[0-9a-f]{2} ?)+)(?:  .*)?");
  std::string line;
  std::smatch match;
  int records = 0;
  while (std::getline(document, line)) {
    while (std::regex_match(line, match, head)) {
      const std::string what = line;
      const std::string key = FromSpacedHex(match[2]);
      rocksdb::ColumnFamilyHandle* const family = families.at(match[1]);
      std::string expected;
      while (std::getline(document, line) && std::regex_match(line, match, bytes)) {
        expected += FromSpacedHex(match[1]);
      }
      std::string record;
      ASSERT_TRUE(engine->db()->Get(rocksdb::ReadOptions(), family, key, &record).ok()) << what;
      EXPECT_EQ(Hex(record), Hex(expected)) << what;
      ++records;
    }
  }
  EXPECT_GE(records, 12);
}

}  // namespace
}  // namespace raftkv::tools::dump
