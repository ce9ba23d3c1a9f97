// raftkv-dump --live: looking while the node runs.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/directory_lock.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class DumpLiveTest : public DumpTest {
 protected:
  void SetUp() override {
    MakeNode();
    auto lock = store::DirectoryLock::Acquire(directory_);
    ASSERT_TRUE(lock.ok());
    lock_ = *std::move(lock);
  }

  std::unique_ptr<store::DirectoryLock> lock_;
};

TEST_F(DumpLiveTest, WithoutItTheMessageSaysSo) {
  for (const char* command : {"meta", "summary", "log", "keys", "members", "sessions"}) {
    const ProgramResult refused = Dump({command});
    EXPECT_EQ(refused.exit_code, kExitCouldNotRun) << command;
    EXPECT_THAT(refused.err, HasSubstr("with --live"));
    const ProgramResult live = Dump({command, "--live"});
    EXPECT_EQ(live.exit_code, kExitFine) << command << "\n" << live.out << live.err;
  }
}

// The log up to the last entry, and of the keys those that were flushed.
TEST_F(DumpLiveTest, ShowsWhatIsOnDisk) {
  const std::vector<Entry> more = {Put(10, 2, "d", "4")};
  node_->Append(more, {Term(2), NodeId(0xa2), Index(9)});
  node_->Apply(more);
  std::vector<json> log = Lines(Dump({"log", "--live", "-o", "jsonl"}).out);
  ASSERT_EQ(log.size(), 11u);
  EXPECT_EQ(log[9]["index"], 10);
  EXPECT_EQ(Lines(Dump({"keys", "--live", "-o", "jsonl"}).out)[0]["applied_index"], 5);
  node_->FlushKv();
  EXPECT_EQ(Lines(Dump({"keys", "--live", "-o", "jsonl"}).out)[0]["applied_index"], 10);
  EXPECT_EQ(json::parse(Dump({"summary", "--live", "-o", "json"}).out)["start"], nullptr);
}

TEST_F(DumpLiveTest, ChangesNoByte) {
  Crash();
  const auto before = Snapshot(directory_);
  const std::string scratch = temp_.path() + "/scratch";
  fs::create_directory(scratch);
  setenv("TMPDIR", scratch.c_str(), 1);
  for (const char* command : {"meta", "summary", "log", "keys", "members", "sessions"}) {
    EXPECT_EQ(Dump({command, "--live"}).exit_code, kExitFine) << command;
    EXPECT_EQ(Snapshot(directory_), before) << command;
  }
  unsetenv("TMPDIR");
  EXPECT_TRUE(fs::is_empty(scratch));
}

TEST_F(DumpLiveTest, OnAStoppedDirectoryItShowsTheSame) {
  Crash();
  lock_.reset();
  EXPECT_EQ(Dump({"log", "--live", "--values"}).out, Dump({"log", "--values"}).out);
  EXPECT_EQ(Dump({"keys", "--live", "--values"}).out, Dump({"keys", "--values"}).out);
}

TEST_F(DumpLiveTest, DoesNotGoWithReplay) {
  const ProgramResult result = Dump({"keys", "--live", "--replay"});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_THAT(result.err, HasSubstr("--replay works in a copy"));
}

}  // namespace
}  // namespace raftkv::tools::dump
