// raftkv-dump on damaged directories, and on what is no directory of a node.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/rng.h"
#include "store/directory_lock.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpDamageTest : public DumpTest {
 protected:
  // Flips a bit in one of the files that `wanted` chooses, `rounds` times.
  void ExpectFlipsAreFound(int rounds, const std::function<bool(const std::string&)>& wanted) {
    const std::string log = Dump({"log", "--values"}).out;
    const std::string keys = Dump({"keys", "--values"}).out;
    std::vector<std::string> files;
    for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
      if (file.file_size() > 0 && wanted(file.path().filename())) files.push_back(file.path());
    }
    std::sort(files.begin(), files.end());
    ASSERT_FALSE(files.empty());
    Rng rng(2024);
    for (int round = 0; round < rounds; ++round) {
      const std::string& file = files[static_cast<size_t>(round) % files.size()];
      const auto offset = static_cast<off_t>(rng.Below(fs::file_size(file)));
      const auto bits = static_cast<char>(1u << rng.Below(8));
      FlipByte(file, offset, bits);
      ExpectFoundOrHarmless(file + " at " + std::to_string(offset), log, keys);
      FlipByte(file, offset, bits);
    }
  }

  void ExpectFoundOrHarmless(const std::string& what, const std::string& log,
                             const std::string& keys) {
    const auto before = Snapshot(directory_);
    const ProgramResult log_now = Dump({"log", "--values"});
    const ProgramResult keys_now = Dump({"keys", "--values"});
    EXPECT_LE(log_now.exit_code, kExitCouldNotRun) << what;
    EXPECT_LE(keys_now.exit_code, kExitCouldNotRun) << what;
    if (log_now.exit_code == kExitFine && log_now.out != log) {
      // A last write that was cut off is what a crash leaves, and shortens the log.
      const ProgramResult meta = Dump({"meta", "-o", "json", "--quick"});
      EXPECT_EQ(json::parse(meta.out)["wal"]["tail"], "torn") << what << "\n" << log_now.out;
    }
    if (keys_now.exit_code == kExitFine) {
      EXPECT_EQ(keys_now.out, keys) << what;
    }
    EXPECT_EQ(Snapshot(directory_), before) << what;
  }
};

TEST_F(DumpDamageTest, ADamagedWalFile) {
  MakeNode();
  Crash();
  std::string wal;
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() == ".log" && file.file_size() > 0) wal = file.path();
  }
  ASSERT_FALSE(wal.empty());
  // In the first record, with valid ones behind it: no crash leaves that.
  FlipByte(wal, 40, 1);
  const auto before = Snapshot(directory_);
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems) << meta.out << meta.err;
  EXPECT_THAT(meta.out, HasSubstr(fs::path(wal).filename().string()));
  EXPECT_EQ(Snapshot(directory_), before);
}

// Whatever byte is wrong: the tool ends by itself, changes nothing, and either finds the problem or
// shows everything there is.
TEST_F(DumpDamageTest, AnyFlippedByteIsFoundOrDoesNotMatter) {
  MakeNode();
  node_->FlushKv();
  Crash();
  ExpectFlipsAreFound(48, [](const std::string& name) {
    // LOG is for people; LOCK is empty.
    return !name.starts_with("LOG") && name != "LOCK";
  });
}

// After a clean stop the list of files is all there is to say where the log is.
TEST_F(DumpDamageTest, AnyFlippedByteInTheManifestAfterACleanStop) {
  MakeNode();
  node_->FlushAll();
  Crash();
  ExpectFlipsAreFound(48, [](const std::string& name) { return name.starts_with("MANIFEST"); });
}

// The same bytes where it is known to matter: RocksDB alone takes each for the end of the file.
TEST_F(DumpDamageTest, AFlippedLengthInTheManifestIsFound) {
  MakeNode();
  node_->FlushAll();
  Crash();
  const std::string manifest = OnlyFile("MANIFEST");
  const std::string bytes = ReadFile(manifest);
  int chunks = 0;
  for (size_t at = 0; at + 7 < bytes.size(); ++chunks) {
    const size_t length = static_cast<uint8_t>(bytes[at + 4]) +
                          (static_cast<size_t>(static_cast<uint8_t>(bytes[at + 5])) << 8);
    FlipByte(manifest, static_cast<off_t>(at + 5), 0x40);
    const ProgramResult meta = Dump({"meta"});
    EXPECT_EQ(meta.exit_code, kExitProblems) << at;
    EXPECT_THAT(meta.out, HasSubstr("is damaged at offset " + std::to_string(at) + ": "));
    FlipByte(manifest, static_cast<off_t>(at + 5), 0x40);
    at += 7 + length;
  }
  EXPECT_GE(chunks, 3);
}

// What a crash leaves: some of the last record is not there.
TEST_F(DumpDamageTest, AManifestWhoseEndWasCutOffIsNotDamage) {
  MakeNode();
  Crash();
  const std::string manifest = OnlyFile("MANIFEST");
  std::ofstream(manifest, std::ios::binary | std::ios::app)
      << std::string("\x12\x34\x56\x78\x40\0\1xyz", 10);
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitFine) << meta.out << meta.err;
}

}  // namespace
}  // namespace raftkv::tools::dump
