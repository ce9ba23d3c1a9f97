// The shim in a real process, and the power cut after it: what was synced stays, what was not may
// go.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <vector>

#include "torture/network.h"
#include "torture/observer.h"
#include "torture/process.h"
#include "torture/undo_log.h"

namespace raftkv::torture {
namespace {

#ifdef RAFTKV_SHIM

namespace fs = std::filesystem;

class Shim : public testing::Test {
 protected:
  Shim() {
    std::string pattern = testing::TempDir() + "raftkv-shim-XXXXXX";
    root_ = mkdtemp(pattern.data());
    log_ = root_ + ".undo";
    Clean();
  }
  ~Shim() override {
    umount2(root_.c_str(), MNT_DETACH);  // most tests have nothing there
    fs::remove_all(root_);
    fs::remove(log_);
  }

  void Clean() {
    fs::remove(log_);
    for (const char* name : {"/data", "/undo"}) {
      fs::remove_all(root_ + name);
      fs::create_directories(root_ + name);
    }
  }

  // A process that does these steps and is gone.
  void Run(const std::string& steps) {
    const std::string command = Command(steps);
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  std::string Command(const std::string& steps) const {
    return "LD_PRELOAD=" RAFTKV_SHIM " RAFTKV_TORTURE_DATA=" + root_ +
           "/data RAFTKV_TORTURE_UNDO=" + root_ + "/undo RAFTKV_TORTURE_LOG=" + log_ +
           " " RAFTKV_SHIM_PROBE " " + root_ + "/data " + steps;
  }

  void Cut(uint64_t seed) {
    Rng rng(seed);
    const auto cut = CutPower(log_, root_, &rng);
    ASSERT_TRUE(cut.ok()) << cut.status();
  }

  std::optional<std::string> Read(const std::string& name) const {
    std::ifstream file(root_ + "/data/" + name, std::ios::binary);
    if (!file) return std::nullopt;
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  // What `name` holds after `steps` and a power cut, over many seeds. "-": there is no such file.
  std::set<std::string> Outcomes(const std::string& steps, const std::string& name) {
    std::set<std::string> outcomes;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      Clean();
      Run(steps);
      Cut(seed);
      outcomes.insert(Read(name).value_or("-"));
    }
    return outcomes;
  }

  using Set = std::set<std::string>;
  std::string root_;
  std::string log_;  // not in it: a disk may be full
};

TEST_F(Shim, WhatIsSyncedStays) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir", "f"), Set({"abc"}));
}

TEST_F(Shim, WhatIsNotSyncedMayBeLost) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir write:f:def", "f"), Set({"abc", "abcdef"}));
}

TEST_F(Shim, TheFirstPartOfWhatIsNotSyncedMayStay) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir write:f:d write:f:e", "f"),
            Set({"abc", "abcd", "abcde"}));
}

TEST_F(Shim, BytesThatWereWrittenOverComeBack) {
  EXPECT_EQ(Outcomes("write:f:abcdef sync:f syncdir at:f:2:XYZ", "f"), Set({"abcdef", "abXYZf"}));
  EXPECT_EQ(Outcomes("write:f:abcdef sync:f syncdir at:f:4:XYZ", "f"), Set({"abcdef", "abcdXYZ"}));
}

TEST_F(Shim, AFileThatWasEmptiedComesBack) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir empty:f", "f"), Set({"abc", ""}));
}

TEST_F(Shim, AFileWhoseDirectoryIsNotSyncedMayBeMissing) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f", "f"), Set({"-", "abc"}));
}

TEST_F(Shim, ARenameWithoutASyncOfTheDirectoryMayNotHaveHappened) {
  const std::string steps = "write:f:old write:g:new sync:f sync:g syncdir rename:g:f";
  EXPECT_EQ(Outcomes(steps, "f"), Set({"old", "new"}));
  EXPECT_EQ(Outcomes(steps, "g"), Set({"-", "new"}));
  EXPECT_EQ(Outcomes(steps + " syncdir", "f"), Set({"new"}));
}

TEST_F(Shim, ARenameOfWhatIsNotSyncedLosesBoth) {
  EXPECT_EQ(Outcomes("write:f:old sync:f write:g: syncdir write:g:new rename:g:f syncdir", "f"),
            Set({"", "new"}));
}

TEST_F(Shim, ADeletedFileMayComeBack) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir delete:f", "f"), Set({"-", "abc"}));
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir delete:f syncdir", "f"), Set({"-"}));
}

// RocksDB takes in a snapshot's tables so.
TEST_F(Shim, ALinkWithoutASyncOfTheDirectoryMayNotHaveHappened) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir link:f:g", "g"), Set({"-", "abc"}));
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir link:f:g syncdir", "g"), Set({"abc"}));
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir link:f:g", "f"), Set({"abc"}));
}

TEST_F(Shim, WhatIsNotSyncedMayBeLostUnderAnotherName) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir write:f:d link:f:g syncdir delete:f syncdir", "g"),
            Set({"abc", "abcd"}));
}

TEST_F(Shim, AllocatedBytesMayBeLost) {
  EXPECT_EQ(Outcomes("write:f:abc sync:f syncdir allocate:f:5", "f"),
            Set({"abc", std::string("abc\0\0", 5)}));
}

// The page cache survives a kill, but nothing became durable by it.
TEST_F(Shim, WhatALifeBeforeDidNotSyncMayStillBeLost) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Clean();
    Run("write:f:abc sync:f syncdir write:f:d");
    EXPECT_EQ(Read("f"), "abcd");
    Run("write:f:e");
    Cut(seed);
    outcomes.insert(Read("f").value_or("-"));
  }
  EXPECT_EQ(outcomes, Set({"abc", "abcd", "abcde"}));
  Clean();
  Run("write:f:abc syncdir");
  Run("sync:f");
  Cut(1);
  EXPECT_EQ(Read("f"), "abc");
}

// A process that ends before it has written its log again: here, because it may write no file.
TEST_F(Shim, ALifeThatEndsAtItsStartForgetsNothing) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Clean();
    Run("write:f:abc sync:f syncdir write:f:d");
    const std::string killed = "ulimit -c 0; ulimit -f 0; " + Command("write:f:e");
    EXPECT_NE(std::system(killed.c_str()), 0);
    Cut(seed);
    outcomes.insert(Read("f").value_or("-"));
  }
  EXPECT_EQ(outcomes, Set({"abc", "abcd"}));
}

TEST_F(Shim, TheLogIsEmptyWhenAllIsSynced) {
  Run("write:f:abc write:g:def sync:f sync:g syncdir");
  EXPECT_EQ(fs::file_size(log_), 0u);
}

// It is the process that meets the full disk, and not the shim.
TEST_F(Shim, AFullDiskIsTheProcessesOwn) {
  if (mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "this user may not mount a tmpfs";
  }
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Clean();
    Run("write:f:abc sync:f syncdir write:f:d fill:g write:f:e rename:f:h delete:g");
    Cut(seed);
  }
  // A page was left for f: what was written when the disk was full came to the same file.
  Clean();
  Run("write:f:abc sync:f syncdir fill:g at:f:1:X rename:f:h");
  EXPECT_EQ(Read("h"), "aXc");
}

TEST_F(Shim, TheWallClockIsMoved) {
  const int64_t offset = 1000LL * 1'000'000'000;
  std::ofstream(root_ + "/clock", std::ios::binary)
      .write(reinterpret_cast<const char*>(&offset), sizeof offset);
  Run("clock > " + root_ + "/plain");
  setenv("RAFTKV_TORTURE_CLOCK", (root_ + "/clock").c_str(), 1);
  Run("clock > " + root_ + "/moved");
  unsetenv("RAFTKV_TORTURE_CLOCK");
  int64_t plain = 0, moved = 0;
  std::ifstream(root_ + "/plain") >> plain;
  std::ifstream(root_ + "/moved") >> moved;
  EXPECT_NEAR(static_cast<double>(moved - plain), 1000, 60);
}

// A node that served has a database, whatever happens: one that found none would make a new one,
// and know nothing of what it promised.
TEST_F(Shim, ANodesDirectoryIsThereAfterAPowerCut) {
  const int port = FreePort().value();
  const auto url = [](int at) { return "http://127.0.0.1:" + std::to_string(at); };
  const std::string peer = url(FreePort().value());
  const std::vector<std::string> command = {RAFTKV_RAFTKVD,
                                            "--name=n1",
                                            "--data-dir=" + root_ + "/data",
                                            "--listen-client-urls=" + url(port),
                                            "--advertise-client-urls=" + url(port),
                                            "--listen-peer-urls=" + peer,
                                            "--initial-advertise-peer-urls=" + peer,
                                            "--listen-http-urls=" + url(FreePort().value()),
                                            "--initial-cluster=n1=" + peer};
  const std::vector<std::string> environment = {
      "LD_PRELOAD=" RAFTKV_SHIM, "RAFTKV_TORTURE_DATA=" + root_ + "/data",
      "RAFTKV_TORTURE_UNDO=" + root_ + "/undo", "RAFTKV_TORTURE_LOG=" + log_};
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Clean();
    fs::remove_all(root_ + "/data");
    Process node;
    ASSERT_TRUE(node.Start(command, environment, root_ + "/log").ok());
    const Status serves = WaitUntilAllServe({"127.0.0.1:" + std::to_string(port)}, 60);
    ASSERT_TRUE(serves.ok()) << serves;
    node.Kill();
    Cut(seed);
    EXPECT_TRUE(fs::exists(root_ + "/data/db/CURRENT")) << "seed " << seed;
    EXPECT_TRUE(fs::exists(root_ + "/data/fence")) << "seed " << seed;
  }
}

#endif

}  // namespace
}  // namespace raftkv::torture
