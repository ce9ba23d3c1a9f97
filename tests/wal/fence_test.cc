#include "wal/fence.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "wal/keys.h"
#include "wal/log_writer.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

using raft::AckBounds;

constexpr ClusterId kCluster(7);
constexpr NodeId kNode(1);
constexpr uint64_t kNow = 1'000'000;

LogPosition Pos(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }

class FenceTest : public testing::Test {
 protected:
  std::unique_ptr<Fence> Open(uint64_t now = kNow) {
    auto fence = Fence::Open(path_, kCluster, kNode, now);
    EXPECT_TRUE(fence.ok()) << fence.status();
    return fence.ok() ? *std::move(fence) : nullptr;
  }
  // What a start finds now.
  FenceRecord Found() { return Open()->found(); }

  // Whether a start would find entries missing with a log that ends in `last`.
  bool IsShort(LogPosition last) {
    return raft::IsShort(last, Fence::Read(path_, kCluster, kNode).value()->acknowledged);
  }

  void Damage(size_t offset, size_t bytes) {
    std::string content = ReadFileBytes(path_);
    for (size_t i = offset; i < offset + bytes; ++i) content.at(i) = static_cast<char>(~content[i]);
    WriteFileBytes(path_, content);
  }

  TempDir dir_;
  const std::string path_ = dir_.Sub("fence");
};

TEST_F(FenceTest, ANewOneKnowsOfNothing) {
  const auto fence = Open();
  EXPECT_EQ(fence->found(), FenceRecord{});
  EXPECT_EQ(fence->run(), kNow);
}

TEST_F(FenceTest, RunsGrowWhateverTheClockSays) {
  EXPECT_EQ(Open(kNow)->run(), kNow);
  EXPECT_EQ(Open(kNow - 10)->run(), kNow + 1);
  EXPECT_EQ(Open(kNow + 10)->run(), kNow + 10);
}

TEST_F(FenceTest, TermAndVoteAreSyncedOnceEach) {
  auto fence = Open();
  const uint64_t before = fence->syncs();
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 2), {}).ok());
  ASSERT_TRUE(fence->Note(Pos(10, 2)).ok());
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(11, 3), {}).ok());
  EXPECT_EQ(fence->syncs(), before + 1);
  fence.reset();
  const FenceRecord found = Found();
  EXPECT_EQ(found.term, Term(3));
  EXPECT_EQ(found.vote, NodeId(2));
}

TEST_F(FenceTest, WhatIsOnDiskIsNotedAndWhatMayBeIsCovered) {
  auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 3), {}).ok());
  const AckBounds covered = {Pos(0, 0), Pos(10 + kFenceReserve, 3)};
  EXPECT_EQ(Found().acknowledged, covered) << "written, but not known to be on disk";
  fence = Open();
  ASSERT_TRUE(fence->Note(Pos(10, 3)).ok());
  EXPECT_EQ(Found().acknowledged, (AckBounds{Pos(10, 3), covered.at_most}));
}

// A power loss may take notes along, but not what a start found.
TEST_F(FenceTest, WhatAStartFindsIsInItsRecord) {
  const auto start = [this](LogPosition on_disk) {
    return std::move(*Fence::Open(path_, kCluster, kNode, kNow, on_disk));
  };
  EXPECT_EQ(start(Pos(10, 3))->found().acknowledged, AckBounds{});
  EXPECT_EQ(start(Pos(12, 3))->found().acknowledged, (AckBounds{Pos(10, 3), Pos(10, 3)}));
  // Then the log's end is lost: what was acknowledged is remembered until it is there again.
  EXPECT_EQ(start(Pos(4, 3))->found().acknowledged, (AckBounds{Pos(12, 3), Pos(12, 3)}));
  EXPECT_EQ(Found().acknowledged, (AckBounds{Pos(12, 3), Pos(12, 3)}));
}

TEST_F(FenceTest, ALogThatOutgrowsItsRoomIsCoveredAnew) {
  const auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(1), kNode, Pos(1, 1), {}).ok());
  const uint64_t before = fence->syncs();
  ASSERT_TRUE(fence->Cover(Term(1), kNode, Pos(1 + kFenceReserve, 1), {}).ok());
  EXPECT_EQ(fence->syncs(), before);
  ASSERT_TRUE(fence->Cover(Term(1), kNode, Pos(2 + kFenceReserve, 1), {}).ok());
  EXPECT_EQ(fence->syncs(), before + 1);
  EXPECT_EQ(Found().acknowledged.at_most, Pos(2 + 2 * kFenceReserve, 1));
}

// A leader of term 3 replaces 12 and 13 of term 2, with entries of term 1 first. Whether or not
// that write makes it to the disk, nothing was lost.
TEST_F(FenceTest, AConflictIsNoLoss) {
  auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(2), kNode, Pos(13, 2), {}).ok());
  ASSERT_TRUE(fence->Note(Pos(13, 2)).ok());
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(3), Pos(13, 1), {}).ok());
  const auto is_loss = [this](LogPosition last) {
    return raft::IsBehind(last, Found().acknowledged.at_least);
  };
  EXPECT_FALSE(is_loss(Pos(13, 2)));
  EXPECT_FALSE(is_loss(Pos(13, 1)));
  fence = Open();
  ASSERT_TRUE(fence->Note(Pos(13, 1)).ok());
  EXPECT_FALSE(is_loss(Pos(13, 1)));
  EXPECT_TRUE(is_loss(Pos(12, 1)));
}

TEST_F(FenceTest, WhatIsOwedIsKeptUntilItIsThere) {
  auto fence = Open();
  const AckBounds owed{Pos(20, 3), Pos(900, 3), /*missing=*/true};
  ASSERT_TRUE(fence->Cover(Term(3), kNode, Pos(5, 2), owed).ok());
  const uint64_t before = fence->syncs();
  ASSERT_TRUE(fence->Note(Pos(5, 2)).ok());
  ASSERT_TRUE(fence->Cover(Term(3), kNode, Pos(6, 2), owed).ok());
  EXPECT_EQ(fence->syncs(), before);
  EXPECT_EQ(Found().acknowledged, owed);
  // Whole with the next write, and not before that is on disk.
  fence = Open();
  ASSERT_TRUE(fence->Cover(Term(4), kNode, Pos(30, 4), {}).ok());
  EXPECT_TRUE(IsShort(Pos(20, 3)));
  EXPECT_FALSE(IsShort(Pos(30, 4)));
  ASSERT_TRUE(fence->Note(Pos(30, 4)).ok());
  ASSERT_TRUE(fence->Cover(Term(4), kNode, Pos(31, 4), {}).ok());
  ASSERT_TRUE(fence->Note(Pos(31, 4)).ok());
  EXPECT_EQ(Found().acknowledged, (AckBounds{Pos(31, 4), Pos(31 + kFenceReserve, 4)}));
}

// The log has grown back to what it had at least. What was acknowledged beyond that may still be
// missing, and the next start has to know.
TEST_F(FenceTest, ALogThatIsKnownToBeShortIsShortUntilItHasEverything) {
  auto fence = Open();
  const AckBounds owed{Pos(20, 3), Pos(900, 3), /*missing=*/true};
  ASSERT_TRUE(fence->Cover(Term(3), kNode, Pos(5, 2), owed).ok());
  for (const LogPosition last : {Pos(20, 3), Pos(25, 3)}) {
    ASSERT_TRUE(fence->Cover(Term(3), kNode, last, owed).ok());
    ASSERT_TRUE(fence->Note(last).ok());
    EXPECT_TRUE(IsShort(last));
    fence = std::move(*Fence::Open(path_, kCluster, kNode, kNow, last));
    EXPECT_TRUE(IsShort(last));
  }
  EXPECT_TRUE(IsShort(Pos(899, 3)));
  EXPECT_FALSE(IsShort(Pos(900, 3)));
  EXPECT_FALSE(IsShort(Pos(21, 4)));
  fence = std::move(*Fence::Open(path_, kCluster, kNode, kNow, Pos(900, 3)));
  EXPECT_EQ(Found().acknowledged, (AckBounds{Pos(900, 3), Pos(900, 3)}));
}

TEST_F(FenceTest, ATornRecordLeavesTheOneBefore) {
  auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 3), {}).ok());  // slot 0
  ASSERT_TRUE(fence->Cover(Term(4), NodeId(2), Pos(10, 3), {}).ok());  // slot 1
  fence.reset();
  Damage(4096 + 30, 1);
  EXPECT_EQ(Found().term, Term(3));
}

TEST_F(FenceTest, ATornNoteLeavesTheRecord) {
  auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 3), {}).ok());
  ASSERT_TRUE(fence->Note(Pos(10, 3)).ok());
  fence.reset();
  Damage(8192 + 10, 1);
  const FenceRecord found = Found();
  EXPECT_EQ(found.term, Term(3));
  EXPECT_EQ(found.acknowledged.at_least, LogPosition());
}

// The record that is written in the place of a damaged one has a number of its own: with the
// damaged one's, the note that went with that would count again.
TEST_F(FenceTest, ANoteDoesNotOutliveItsRecord) {
  auto fence = Open();
  ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 3), {}).ok());  // slot 0
  ASSERT_TRUE(fence->Note(Pos(10, 3)).ok());
  fence.reset();
  Damage(30, 1);
  const FenceRecord found = Found();
  EXPECT_EQ(found.acknowledged, AckBounds{});
  EXPECT_EQ(Found().acknowledged, found.acknowledged);
  // And it takes the damaged one's place: the other is still whole if this one is torn.
  Damage(30, 1);
  EXPECT_EQ(Found().acknowledged, found.acknowledged);
}

TEST_F(FenceTest, DamageIsRefusedAndLeftAlone) {
  Open();
  Damage(0, 8);
  Damage(4096, 8);
  const std::string damaged = ReadFileBytes(path_);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto fence = Fence::Open(path_, kCluster, kNode, kNow);
    EXPECT_EQ(fence.status().code(), Code::kCorruption);
  }
  EXPECT_EQ(ReadFileBytes(path_), damaged);
  WriteFileBytes(path_, "");
  EXPECT_EQ(Fence::Open(path_, kCluster, kNode, kNow).status().code(), Code::kCorruption);
}

TEST_F(FenceTest, ReadingItChangesNothing) {
  const auto none = Fence::Read(path_, kCluster, kNode);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(*none, std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(path_));
  {
    const auto fence = Open();
    ASSERT_TRUE(fence->Cover(Term(3), NodeId(2), Pos(10, 3), {}).ok());
    ASSERT_TRUE(fence->Note(Pos(10, 3)).ok());
  }
  const std::string before = ReadFileBytes(path_);
  const auto found = Fence::Read(path_, kCluster, kNode);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(ReadFileBytes(path_), before);
  EXPECT_EQ(**found, Found());
  EXPECT_EQ(Fence::Read(path_, kCluster, NodeId(2)).status().code(), Code::kFailedPrecondition);
}

TEST_F(FenceTest, AnotherNodesIsRefused) {
  Open();
  EXPECT_EQ(Fence::Open(path_, kCluster, NodeId(2), kNow).status().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(Fence::Open(path_, ClusterId(8), kNode, kNow).status().code(),
            Code::kFailedPrecondition);
}

// The writer covers before it writes and notes after it has synced.
TEST_F(FenceTest, TheLogWriterKeepsIt) {
  const std::string db = dir_.Sub("db");
  ASSERT_TRUE(BootstrapNode(db).ok());
  auto engine = ScanAndOpen(db);
  ASSERT_TRUE(engine.ok()) << engine.status();
  LogStore log(engine->get());
  ASSERT_TRUE(log.Recover().ok());
  auto fence = Open();
  std::promise<FenceRecord> at_report;
  LogWriter writer(
      engine->get(), &log, fence.get(),
      [&](std::span<raft::AppendTask>) { at_report.set_value(Found()); }, nullptr);
  raft::AppendTask task;
  task.seq = 1;
  task.hard_state = HardState{Term(1), kNode, Index(0)};
  task.entries = {MakeEntry(1, 1, "a"), MakeEntry(2, 1, "b")};
  task.last = Pos(2, 1);
  writer.Submit(task);
  const FenceRecord found = at_report.get_future().get();
  EXPECT_EQ(found.term, Term(1));
  EXPECT_EQ(found.vote, kNode);
  EXPECT_EQ(found.acknowledged.at_least, Pos(2, 1));
}

}  // namespace
}  // namespace raftkv::wal
