// The simulated disk: what a crash may keep and what it must keep.
#include "sim/disk.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace raftkv::sim {
namespace {

InodePtr MakeFile(SimDisk* disk, const std::string& path) {
  InodePtr file;
  EXPECT_EQ(disk->Create(path, &file), DiskResult::kOk);
  return file;
}

TEST(SimDiskTest, WhatWasSyncedSurvivesEveryCrash) {
  for (const CrashKind kind : {CrashKind::kProcess, CrashKind::kPower, CrashKind::kHarsh}) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
      SimDisk disk(seed, 512);
      const InodePtr file = MakeFile(&disk, "/f");
      ASSERT_EQ(disk.Append("/f", file.get(), std::string(3000, 'a')), DiskResult::kOk);
      ASSERT_EQ(disk.Sync("/f", file.get()), DiskResult::kOk);
      ASSERT_EQ(disk.SyncDir("/"), DiskResult::kOk);
      ASSERT_EQ(disk.Append("/f", file.get(), std::string(3000, 'b')), DiskResult::kOk);
      disk.Kill();
      disk.Restart(kind);
      const InodePtr found = disk.Find("/f");
      ASSERT_NE(found, nullptr);
      EXPECT_EQ(found->data.substr(0, 3000), std::string(3000, 'a'));
    }
  }
}

TEST(SimDiskTest, AFileWhoseDirectoryWasNotSyncedMayBeLost) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SimDisk disk(seed, 4096);
    const InodePtr file = MakeFile(&disk, "/f");
    ASSERT_EQ(disk.Append("/f", file.get(), "x"), DiskResult::kOk);
    ASSERT_EQ(disk.Sync("/f", file.get()), DiskResult::kOk);
    disk.Restart(CrashKind::kPower);
    lost += disk.Find("/f") == nullptr ? 1 : 0;
  }
  EXPECT_GT(lost, 10);
  EXPECT_LT(lost, 90);
}

// A file whose directory is gone stayed behind, and turned up in the next directory of that name:
// what was written there went into a table of RocksDB that the file was a second name of.
TEST(SimDiskTest, ADirectoryThatIsLostTakesItsFilesAlong) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimDisk disk(seed, 4096);
    ASSERT_EQ(disk.MakeDir("/a"), DiskResult::kOk);
    MakeFile(&disk, "/a/f");
    ASSERT_EQ(disk.SyncDir("/a"), DiskResult::kOk);
    disk.Restart(CrashKind::kPower);
    if (disk.Find("/a") != nullptr) continue;
    ++lost;
    EXPECT_EQ(disk.Find("/a/f"), nullptr);
  }
  EXPECT_GT(lost, 0);
}

// That the first one was removed was made durable after a file in the second one was, and took that
// along.
TEST(SimDiskTest, ADirectoryThatIsMadeAgainKeepsItsFiles) {
  SimDisk disk(1, 4096);
  ASSERT_EQ(disk.MakeDir("/a"), DiskResult::kOk);
  ASSERT_EQ(disk.SyncDir("/"), DiskResult::kOk);
  ASSERT_EQ(disk.DeleteDir("/a"), DiskResult::kOk);
  ASSERT_EQ(disk.MakeDir("/a"), DiskResult::kOk);
  MakeFile(&disk, "/a/f");
  ASSERT_EQ(disk.SyncDir("/a"), DiskResult::kOk);
  ASSERT_EQ(disk.SyncDir("/"), DiskResult::kOk);
  disk.Restart(CrashKind::kPower);
  EXPECT_NE(disk.Find("/a/f"), nullptr);
}

TEST(SimDiskTest, APowerLossKeepsABeginningAndAHarshOneLeavesHoles) {
  const auto holes = [](CrashKind kind) {
    int with_hole = 0;
    for (uint64_t seed = 1; seed <= 100; ++seed) {
      SimDisk disk(seed, 512);
      const InodePtr file = MakeFile(&disk, "/f");
      EXPECT_EQ(disk.SyncDir("/"), DiskResult::kOk);
      EXPECT_EQ(disk.Append("/f", file.get(), std::string(8 * 512, 'x')), DiskResult::kOk);
      disk.Restart(kind);
      with_hole += disk.Find("/f")->data.find('\0') != std::string::npos ? 1 : 0;
    }
    return with_hole;
  };
  EXPECT_EQ(holes(CrashKind::kPower), 0);
  EXPECT_GT(holes(CrashKind::kHarsh), 50);
}

TEST(SimDiskTest, AFailedSyncLeavesItsPagesCleanAndUnwritten) {
  SimDisk disk(1, 4096);
  const InodePtr file = MakeFile(&disk, "/f");
  ASSERT_EQ(disk.SyncDir("/"), DiskResult::kOk);
  ASSERT_EQ(disk.Append("/f", file.get(), "lost"), DiskResult::kOk);
  disk.SetFaultHook([](DiskOp op, const std::string&) {
    return op == DiskOp::kSync ? DiskResult::kIoError : DiskResult::kOk;
  });
  EXPECT_EQ(disk.Sync("/f", file.get()), DiskResult::kIoError);
  disk.SetFaultHook(nullptr);
  EXPECT_EQ(disk.Sync("/f", file.get()), DiskResult::kOk);
  EXPECT_EQ(file->data, "lost");
  disk.Restart(CrashKind::kPower);
  EXPECT_NE(disk.Find("/f")->data, "lost");
}

TEST(SimDiskTest, AShortReadGivesTheFirstPagesOnly) {
  SimDisk disk(1, 4096);
  InodePtr file;
  ASSERT_EQ(disk.Create("/file", &file), DiskResult::kOk);
  const std::string bytes = std::string(4096, 'a') + std::string(4096, 'b');
  ASSERT_EQ(disk.Append("/file", file.get(), bytes), DiskResult::kOk);
  disk.SetFaultHook([](DiskOp op, const std::string&) {
    return op == DiskOp::kRead ? DiskResult::kShort : DiskResult::kOk;
  });
  std::set<size_t> sizes;
  for (int i = 0; i < 100; ++i) {
    std::string_view read;
    ASSERT_EQ(disk.Read("/file", *file, 0, bytes.size(), &read), DiskResult::kOk);
    EXPECT_EQ(read, bytes.substr(0, read.size()));
    sizes.insert(read.size());
  }
  EXPECT_EQ(sizes, (std::set<size_t>{0, 4096}));
}

TEST(SimDiskTest, ARenamedDirectoryTakesItsFilesAlong) {
  SimDisk disk(1, 4096);
  ASSERT_EQ(disk.MakeDir("/a"), DiskResult::kOk);
  MakeFile(&disk, "/a/f");
  ASSERT_EQ(disk.SyncDir("/a"), DiskResult::kOk);
  ASSERT_EQ(disk.Rename("/a", "/b"), DiskResult::kOk);
  EXPECT_EQ(disk.Find("/a/f"), nullptr);
  ASSERT_EQ(disk.SyncDir("/"), DiskResult::kOk);
  disk.Restart(CrashKind::kPower);
  EXPECT_NE(disk.Find("/b/f"), nullptr);
}

TEST(SimDiskTest, NothingWorksAfterItWasKilled) {
  SimDisk disk(1, 4096);
  disk.KillAfter(1);
  const InodePtr file = MakeFile(&disk, "/f");
  EXPECT_EQ(disk.Append("/f", file.get(), "x"), DiskResult::kIoError);
  EXPECT_TRUE(disk.dead());
  InodePtr again;
  EXPECT_EQ(disk.Open("/f", &again), DiskResult::kIoError);
}

}  // namespace
}  // namespace raftkv::sim
