#include "raft/raft_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "common/rng.h"
#include "raft/sim_disk.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uint64_t kNoLimit = UINT64_MAX;

Entry At(uint64_t index, uint64_t term, size_t size = 0) {
  return {Index(index), Term(term), EntryKind::kCommand,
          std::make_shared<const std::string>(size, 'x')};
}

std::vector<LogPosition> Positions(const std::vector<Entry>& entries) {
  std::vector<LogPosition> positions;
  for (const Entry& entry : entries) positions.push_back(entry.position());
  return positions;
}

LogPosition Pos(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }

// A log over a disk, with the writes carried out by hand.
class RaftLogTest : public testing::Test {
 protected:
  // A log of entries with `terms` after `start`, on disk.
  RaftLog& Make(std::vector<uint64_t> terms, LogPosition start = {}, uint64_t applied = 0,
                uint64_t commit = 0, uint64_t cache_bytes_max = 1 << 20) {
    std::vector<Term> strong;
    for (const uint64_t term : terms) strong.push_back(Term(term));
    const Term last = strong.empty() ? start.term : strong.back();
    disk_.SetLog({last, NodeId(), Index(commit)}, start, strong);
    const Index from(std::max(applied, start.index.value()));
    log_ = std::make_unique<RaftLog>(disk_.Load(from), &disk_, cache_bytes_max);
    seq_ = 0;
    return *log_;
  }

  // Hands what waits to be written to the disk's queue.
  AppendTask Submit() {
    AppendTask task;
    task.seq = ++seq_;
    log_->TakeWrite(task.seq, &task.truncate_from, &task.entries);
    disk_.Submit(task);
    return task;
  }
  void SyncAndReport() {
    const AppendTask task = disk_.SyncNext();
    log_->OnWritten(task.seq);
    log_->CheckInvariants();
  }
  void Write() {
    Submit();
    SyncAndReport();
  }
  std::vector<Entry> Merge(std::vector<Entry> entries) {
    std::vector<Entry> removed = log_->Merge(entries);
    log_->CheckInvariants();
    return removed;
  }
  std::vector<Entry> Read(uint64_t from, uint64_t to, uint64_t bytes_max = kNoLimit,
                          uint64_t entries_max = kNoLimit) {
    std::vector<Entry> entries;
    log_->Read(Index(from), Index(to), bytes_max, entries_max, &entries);
    return entries;
  }

  SimDisk disk_{Membership()};
  std::unique_ptr<RaftLog> log_;
  uint64_t seq_ = 0;
};

TEST_F(RaftLogTest, AnEmptyLog) {
  RaftLog& log = Make({});
  log.CheckInvariants();
  EXPECT_EQ(log.first(), Index(1));
  EXPECT_EQ(log.last_position(), Pos(0, 0));
  EXPECT_EQ(log.TermAt(Index(0)), Term(0));
  EXPECT_EQ(log.TermAt(Index(1)), std::nullopt);
  EXPECT_TRUE(log.Contains(Pos(0, 0)));
  EXPECT_FALSE(log.HasWrite());
  EXPECT_FALSE(log.HasApply(kNoLimit));
}

TEST_F(RaftLogTest, TermsComeFromTheRuns) {
  RaftLog& log = Make({2, 2, 3, 5, 5}, Pos(10, 2), 10);
  EXPECT_EQ(log.first(), Index(11));
  EXPECT_EQ(log.last_position(), Pos(15, 5));
  EXPECT_EQ(log.TermAt(Index(9)), std::nullopt);
  EXPECT_EQ(log.TermAt(Index(10)), Term(2));
  EXPECT_EQ(log.TermAt(Index(12)), Term(2));
  EXPECT_EQ(log.TermAt(Index(13)), Term(3));
  EXPECT_EQ(log.TermAt(Index(14)), Term(5));
  EXPECT_EQ(log.TermAt(Index(15)), Term(5));
  EXPECT_EQ(log.TermAt(Index(16)), std::nullopt);
  EXPECT_TRUE(log.Contains(Pos(13, 3)));
  EXPECT_FALSE(log.Contains(Pos(13, 5)));
  EXPECT_FALSE(log.Contains(Pos(16, 5)));
}

TEST_F(RaftLogTest, LastAtOrBelowSkipsLaterTerms) {
  RaftLog& log = Make({2, 2, 3, 5, 5}, Pos(10, 2), 10);
  EXPECT_EQ(log.LastAtOrBelow(Index(15), Term(5)), Pos(15, 5));
  EXPECT_EQ(log.LastAtOrBelow(Index(99), Term(9)), Pos(15, 5));
  EXPECT_EQ(log.LastAtOrBelow(Index(14), Term(5)), Pos(14, 5));
  EXPECT_EQ(log.LastAtOrBelow(Index(15), Term(4)), Pos(13, 3));
  EXPECT_EQ(log.LastAtOrBelow(Index(15), Term(2)), Pos(12, 2));
  EXPECT_EQ(log.LastAtOrBelow(Index(11), Term(3)), Pos(11, 2));
  EXPECT_EQ(log.LastAtOrBelow(Index(15), Term(1)), Pos(10, 2));  // cut off there: must agree
  EXPECT_EQ(log.LastAtOrBelow(Index(10), Term(2)), Pos(10, 2));
  EXPECT_EQ(log.LastAtOrBelow(Index(4), Term(1)), Pos(4, 0));
}

TEST_F(RaftLogTest, MergeAppendsWhatIsNew) {
  RaftLog& log = Make({1, 1});
  EXPECT_THAT(Merge({At(2, 1), At(3, 1), At(4, 2)}), IsEmpty());
  EXPECT_EQ(log.last_position(), Pos(4, 2));
  const AppendTask task = Submit();
  EXPECT_TRUE(task.truncate_from.none());
  EXPECT_THAT(Positions(task.entries), ElementsAre(Pos(3, 1), Pos(4, 2)));
  EXPECT_FALSE(log.HasWrite());
  EXPECT_EQ(log.durable(), Index(2));
  SyncAndReport();
  EXPECT_EQ(log.durable(), Index(4));
}

TEST_F(RaftLogTest, MergeLeavesAMatchingSuffixAlone) {
  RaftLog& log = Make({1, 1, 1, 2});
  EXPECT_THAT(Merge({At(2, 1), At(3, 1)}), IsEmpty());
  EXPECT_THAT(Merge({}), IsEmpty());
  EXPECT_EQ(log.last_position(), Pos(4, 2));
  EXPECT_FALSE(log.HasWrite());
}

TEST_F(RaftLogTest, MergeReplacesFromTheFirstConflict) {
  RaftLog& log = Make({1, 1});
  Merge({At(3, 1), At(4, 1), At(5, 1)});
  Write();
  EXPECT_THAT(Positions(Merge({At(3, 1), At(4, 2)})), ElementsAre(Pos(4, 1), Pos(5, 1)));
  EXPECT_EQ(log.last_position(), Pos(4, 2));
  EXPECT_EQ(log.durable(), Index(3));
  EXPECT_EQ(log.TermAt(Index(3)), Term(1));
  const AppendTask task = Submit();
  EXPECT_EQ(task.truncate_from, Index(4));
  EXPECT_THAT(Positions(task.entries), ElementsAre(Pos(4, 2)));
}

TEST_F(RaftLogTest, TruncationReachesWhatIsOnlyOnDisk) {
  RaftLog& log = Make({1, 1, 1, 1});
  // Not in memory, so not returned: nobody in this process proposed them.
  EXPECT_THAT(Merge({At(2, 3)}), IsEmpty());
  EXPECT_EQ(log.last_position(), Pos(2, 3));
  EXPECT_EQ(log.durable(), Index(1));
  Write();
  EXPECT_EQ(disk_.last(), Index(2));
  EXPECT_THAT(Positions(Read(1, 2)), ElementsAre(Pos(1, 1), Pos(2, 3)));
}

TEST_F(RaftLogTest, TruncationOfWhatWasNeverSubmittedNeedsNoWrite) {
  RaftLog& log = Make({1, 1});
  Merge({At(3, 1), At(4, 1)});
  Merge({At(4, 2)});
  const AppendTask task = Submit();
  EXPECT_TRUE(task.truncate_from.none());
  EXPECT_THAT(Positions(task.entries), ElementsAre(Pos(3, 1), Pos(4, 2)));
  SyncAndReport();
  EXPECT_EQ(log.durable(), Index(4));
}

TEST_F(RaftLogTest, TwoTruncationsBeforeAWriteRemoveFromTheLower) {
  Make({1, 1, 1, 1});
  Merge({At(4, 2)});
  Merge({At(2, 3), At(3, 3)});
  const AppendTask task = Submit();
  EXPECT_EQ(task.truncate_from, Index(2));
  EXPECT_THAT(Positions(task.entries), ElementsAre(Pos(2, 3), Pos(3, 3)));
}

// The write of 10@2 completes after 9@3 and 10@3 took its place.
TEST_F(RaftLogTest, AnOldWriteDoesNotVouchForItsSuccessors) {
  RaftLog& log = Make({1, 1, 1, 1, 1, 1, 1, 1, 2});
  Merge({At(10, 2)});
  Submit();
  Merge({At(9, 3), At(10, 3)});
  EXPECT_EQ(log.durable(), Index(8));
  Submit();
  SyncAndReport();
  EXPECT_EQ(log.durable(), Index(8));
  SyncAndReport();
  EXPECT_EQ(log.durable(), Index(10));
  EXPECT_EQ(disk_.TermAt(Index(10)), Term(3));
}

TEST_F(RaftLogTest, OneReportCoversEarlierWrites) {
  RaftLog& log = Make({});
  Merge({At(1, 1)});
  Submit();
  Merge({At(2, 1)});
  Submit();
  disk_.SyncNext();
  disk_.SyncNext();
  log.OnWritten(2);
  EXPECT_EQ(log.durable(), Index(2));
}

TEST_F(RaftLogTest, AppliesWhatIsCommittedAndDurable) {
  RaftLog& log = Make({});
  Merge({At(1, 1), At(2, 1), At(3, 1)});
  log.CommitTo(Index(2));
  EXPECT_FALSE(log.HasApply(kNoLimit));  // committed by others, not on this disk
  Write();
  EXPECT_TRUE(log.HasApply(kNoLimit));
  EXPECT_THAT(Positions(log.TakeApply(kNoLimit)), ElementsAre(Pos(1, 1), Pos(2, 1)));
  EXPECT_FALSE(log.HasApply(kNoLimit));
  EXPECT_THAT(log.TakeApply(kNoLimit), IsEmpty());
  EXPECT_EQ(log.applied(), Index(0));
  EXPECT_EQ(log.applying(), Index(2));
  log.OnApplied(Index(2));
  EXPECT_EQ(log.applied(), Index(2));
  log.OnApplied(Index(1));  // late
  EXPECT_EQ(log.applied(), Index(2));
}

TEST_F(RaftLogTest, ApplyIsBoundedByBytesInFlight) {
  RaftLog& log = Make({1, 1, 1, 1, 1}, {}, 0, 5);  // 32 bytes each, on disk
  EXPECT_THAT(log.TakeApply(70), SizeIs(2));
  EXPECT_EQ(log.applying_bytes(), 64u);
  EXPECT_THAT(log.TakeApply(70), SizeIs(1));  // always one while there is room at all
  EXPECT_FALSE(log.HasApply(70));
  log.OnApplied(Index(1));  // within a task: its bytes are released with its last entry
  EXPECT_FALSE(log.HasApply(70));
  log.OnApplied(Index(2));
  EXPECT_TRUE(log.HasApply(70));
  log.CheckInvariants();
}

TEST_F(RaftLogTest, CommitStartsFromWhatIsKnown) {
  EXPECT_EQ(Make({1, 1, 1}, {}, 0, 2).commit(), Index(2));
  EXPECT_EQ(Make({1, 1, 1}, {}, 3, 2).commit(), Index(3));
  EXPECT_EQ(Make({1, 1, 1}, {}, 0, 9).commit(), Index(3));
}

TEST_F(RaftLogTest, ReadsAreBounded) {
  Make({});
  Merge({At(1, 1, 10), At(2, 1, 10), At(3, 1, 10), At(4, 1, 10)});  // 42 bytes each
  EXPECT_THAT(Read(1, 4, 1), SizeIs(1));
  EXPECT_THAT(Read(1, 4, 83), SizeIs(1));
  EXPECT_THAT(Read(1, 4, 84), SizeIs(2));
  EXPECT_THAT(Read(1, 4, kNoLimit, 3), SizeIs(3));
  EXPECT_THAT(Read(2, 3), SizeIs(2));
}

TEST_F(RaftLogTest, ReadsGoOnFromDiskToMemory) {
  Make({1, 1, 1});
  Merge({At(4, 1), At(5, 1)});
  EXPECT_FALSE(log_->InMemory(Index(3)));
  EXPECT_TRUE(log_->InMemory(Index(4)));
  EXPECT_THAT(Positions(Read(2, 5)), ElementsAre(Pos(2, 1), Pos(3, 1), Pos(4, 1), Pos(5, 1)));
  EXPECT_THAT(Read(2, 5, 96), SizeIs(3));
  EXPECT_THAT(Read(2, 5, 64), SizeIs(2));
  EXPECT_THAT(Read(2, 5, 10), SizeIs(1));
}

TEST_F(RaftLogTest, EntriesLeaveMemoryWhenDurableAndCommitted) {
  RaftLog& log = Make({}, {}, 0, 0, /*cache_bytes_max=*/0);
  Merge({At(1, 1), At(2, 1), At(3, 1)});
  EXPECT_EQ(log.held_bytes(), 96u);
  log.CommitTo(Index(2));
  EXPECT_TRUE(log.InMemory(Index(1)));  // committed, but not durable
  Write();
  EXPECT_FALSE(log.InMemory(Index(2)));
  EXPECT_TRUE(log.InMemory(Index(3)));  // durable, but not committed: it may be replaced
  EXPECT_EQ(log.held_bytes(), 32u);
  EXPECT_THAT(Positions(Read(1, 3)), ElementsAre(Pos(1, 1), Pos(2, 1), Pos(3, 1)));
  log.CheckInvariants();
}

// However far behind the state machine is, it takes no more memory than the cache.
TEST_F(RaftLogTest, WhatWaitsToBeAppliedNeedNotBeInMemory) {
  RaftLog& log = Make({}, {}, 0, 0, /*cache_bytes_max=*/64);
  for (uint64_t i = 1; i <= 100; ++i) log.Append(At(i, 1));
  Write();
  log.CommitTo(Index(100));
  EXPECT_FALSE(log.InMemory(Index(98)));
  EXPECT_EQ(log.cached_bytes() + log.held_bytes(), 64u);
  const std::vector<Entry> entries = log.TakeApply(kNoLimit);
  ASSERT_THAT(entries, SizeIs(100));
  EXPECT_EQ(entries.front().position(), Pos(1, 1));
  EXPECT_EQ(entries.back().position(), Pos(100, 1));
  log.OnApplied(Index(100));
  log.CheckInvariants();
}

TEST_F(RaftLogTest, TheCacheKeepsTheNewest) {
  RaftLog& log = Make({}, {}, 0, 0, /*cache_bytes_max=*/64);
  Merge({At(1, 1), At(2, 1), At(3, 1), At(4, 1)});
  log.CommitTo(Index(4));
  Write();
  log.TakeApply(kNoLimit);
  log.OnApplied(Index(4));
  EXPECT_EQ(log.cached_bytes(), 64u);
  EXPECT_FALSE(log.InMemory(Index(2)));
  EXPECT_TRUE(log.InMemory(Index(3)));
  log.CheckInvariants();
}

TEST_F(RaftLogTest, ACutForgetsWhatIsAppliedAndNoMore) {
  RaftLog& log = Make({1, 1, 2, 2, 3}, {}, /*applied=*/3, /*commit=*/4);
  EXPECT_FALSE(log.CutTo(Index(0)));
  EXPECT_TRUE(log.CutTo(Index(5)));
  EXPECT_EQ(log.first(), Index(4));
  EXPECT_EQ(log.before_first(), Pos(3, 2));
  EXPECT_EQ(log.TermAt(Index(3)), Term(2)) << "of the last one that was cut off";
  EXPECT_EQ(log.TermAt(Index(2)), std::nullopt);
  EXPECT_EQ(log.last_position(), Pos(5, 3));
  EXPECT_TRUE(log.WritesCut());
  log.CheckInvariants();
  EXPECT_FALSE(log.CutTo(Index(3))) << "there is nothing left to cut";
  Submit();
  EXPECT_FALSE(log.WritesCut());
  EXPECT_FALSE(log.HasWrite());
}

TEST_F(RaftLogTest, ALogThatIsCutToItsEndGoesOn) {
  RaftLog& log = Make({1, 2}, {}, /*applied=*/2, /*commit=*/2);
  EXPECT_TRUE(log.CutTo(Index(2)));
  EXPECT_EQ(log.last_position(), Pos(2, 2));
  EXPECT_EQ(log.TermAt(Index(3)), std::nullopt);
  log.Append(At(3, 2));  // the term of the one that was cut off goes on
  log.CheckInvariants();
  EXPECT_EQ(log.last_position(), Pos(3, 2));
  EXPECT_TRUE(log.Contains(Pos(2, 2)));
  EXPECT_FALSE(log.Contains(Pos(2, 1)));
}

TEST_F(RaftLogTest, ACutFreesTheMemoryOfWhatItForgets) {
  RaftLog& log = Make({});
  for (uint64_t i = 1; i <= 4; ++i) log.Append(At(i, 1, 100));
  Write();
  log.CommitTo(Index(4));
  log.TakeApply(kNoLimit);
  log.OnApplied(Index(4));
  const uint64_t all = log.cached_bytes();
  EXPECT_TRUE(log.CutTo(Index(3)));
  log.CheckInvariants();
  EXPECT_EQ(log.cached_bytes(), all / 4);
  EXPECT_FALSE(log.InMemory(Index(3)));
  EXPECT_TRUE(log.InMemory(Index(4)));
}

TEST_F(RaftLogTest, ASnapshotTakesThePlaceOfTheWholeLog) {
  RaftLog& log = Make({1, 1}, {}, /*applied=*/1, /*commit=*/1);
  log.Append(At(3, 2));
  Write();
  log.Append(At(4, 2));
  Membership members;
  members.voters = {NodeId(1), NodeId(9)};
  // What it returns is what somebody may wait for: not committed, and still in memory.
  EXPECT_THAT(Positions(log.Install(Pos(10, 5), members)), ElementsAre(Pos(3, 2), Pos(4, 2)));
  log.CheckInvariants();
  EXPECT_EQ(log.first(), Index(11));
  EXPECT_EQ(log.last_position(), Pos(10, 5));
  EXPECT_EQ(log.commit(), Index(10));
  EXPECT_EQ(log.configs().current(), members);
  EXPECT_FALSE(log.Contains(Pos(3, 2)));
  EXPECT_TRUE(log.WritesInstall());
  EXPECT_TRUE(log.Installing());
}

TEST_F(RaftLogTest, ASnapshotIsHandedOutOnlyOnceItIsOnDiskAndEntriesOnlyAfterIt) {
  RaftLog& log = Make({1, 1}, {}, /*applied=*/1, /*commit=*/1);
  log.Append(At(3, 2));
  Index truncate_from;
  std::vector<Entry> entries;
  log.TakeWrite(1, &truncate_from, &entries);  // on its way when the snapshot comes
  log.Install(Pos(10, 5), {});
  log.OnWritten(1);
  EXPECT_EQ(log.durable(), Index(1)) << "that write vouches for nothing beyond what was committed";
  EXPECT_FALSE(log.HasInstall());
  log.Append(At(11, 5));
  log.CommitTo(Index(11));
  log.TakeWrite(2, &truncate_from, &entries);
  EXPECT_TRUE(truncate_from.none());
  EXPECT_THAT(Positions(entries), ElementsAre(Pos(11, 5)));
  EXPECT_FALSE(log.HasInstall());
  EXPECT_FALSE(log.HasApply(kNoLimit));
  log.OnWritten(2);
  log.CheckInvariants();
  ASSERT_TRUE(log.HasInstall());
  EXPECT_FALSE(log.HasApply(kNoLimit)) << "the state machine is not there yet";
  log.TakeInstall();
  EXPECT_FALSE(log.HasInstall());
  EXPECT_THAT(Positions(log.TakeApply(kNoLimit)), ElementsAre(Pos(11, 5)));
  EXPECT_TRUE(log.Installing());
  log.OnApplied(Index(10));
  EXPECT_FALSE(log.Installing());
  log.OnApplied(Index(11));
  log.CheckInvariants();
}

// Random merges, writes, commits and applies, against a plain map.
TEST_F(RaftLogTest, BehavesLikeAMap) {
  Rng rng(3);
  for (int run = 0; run < 300; ++run) {
    RaftLog& log = Make({1, 1}, {}, 0, 0, rng.Below(3) * 100);
    std::map<uint64_t, uint64_t> model{{1, 1}, {2, 1}};
    uint64_t term = 1;
    for (int step = 0; step < 60; ++step) {
      switch (rng.Below(6)) {
        case 0:
        case 1: {  // a leader's entries, of an old or a new term, from somewhere past the commit
          const uint64_t from = rng.Between(log.commit().value() + 1, log.last().value() + 1);
          const uint64_t previous = from == 1 ? 1 : model.at(from - 1);
          term = rng.Percent(30) ? term + 1 : term;
          std::vector<Entry> entries;
          for (uint64_t i = from, n = rng.Between(1, 4); i < from + n; ++i) {
            entries.push_back(At(i, std::max(previous, term), rng.Below(50)));
          }
          for (const Entry& entry : entries) {
            if (model.contains(entry.index.value()) &&
                model[entry.index.value()] != entry.term.value()) {
              model.erase(model.lower_bound(entry.index.value()), model.end());
            }
            model[entry.index.value()] = entry.term.value();
          }
          Merge(entries);
          break;
        }
        case 2:
          Submit();
          break;
        case 3:
          if (disk_.unsynced() > 0) SyncAndReport();
          break;
        case 4:
          log.CommitTo(Index(rng.Between(log.commit().value(), log.last().value())));
          break;
        case 5:
          if (log.HasApply(100)) log.TakeApply(100);
          log.OnApplied(Index(rng.Between(log.applied().value(), log.applying().value())));
          break;
      }
      log.CheckInvariants();
      ASSERT_EQ(log.last().value(), model.size());
      for (const auto& [i, t] : model) ASSERT_EQ(log.TermAt(Index(i)), Term(t));
      for (uint64_t i = 1; i <= log.durable().value(); ++i) {
        ASSERT_EQ(disk_.TermAt(Index(i)), Term(model[i])) << "not durable: " << i;
      }
      for (uint64_t i = log.durable().value() + 1; i <= model.size(); ++i) {
        ASSERT_TRUE(log.InMemory(Index(i)));
      }
    }
    const std::vector<Entry> all = Read(1, model.size());
    ASSERT_THAT(all, SizeIs(model.size()));
  }
}

using RaftLogDeathTest = RaftLogTest;

TEST_F(RaftLogDeathTest, ACommittedEntryIsNeverRemoved) {
  Make({1, 1, 1}, {}, 0, 2);
  EXPECT_DEATH(Merge({At(2, 5)}), "entry 2 of another term than the leader's is committed");
}

TEST_F(RaftLogDeathTest, CommitBeyondTheLogMeansThatEntriesWereLost) {
  RaftLog& log = Make({1, 1, 1});
  EXPECT_DEATH(log.CommitTo(Index(4)), "acknowledged entries were lost");
}

TEST_F(RaftLogDeathTest, ASnapshotOfWhatIsCommittedIsNotInstalled) {
  Make({1, 1}, {}, /*applied=*/1, /*commit=*/2);
  EXPECT_DEATH(log_->Install(Pos(2, 1), {}), "a snapshot of what is committed");
  log_->Install(Pos(5, 1), {});
  EXPECT_DEATH(log_->Install(Pos(6, 1), {}), "a second one at a time");
}

TEST_F(RaftLogDeathTest, ADamagedEntryStopsTheNode) {
  RaftLog& log = Make({1, 1, 1}, {}, 0, 3);
  disk_.SetLog({Term(1), NodeId(), Index(3)}, {}, {Term(1)});
  EXPECT_DEATH(log.TakeApply(kNoLimit), "the log can't be read back: corruption");
}

TEST_F(RaftLogDeathTest, AContradictoryStateIsRefused) {
  const auto start = [this](auto&& change) {
    Make({1, 2, 2});
    PersistentState state = disk_.Load(Index(1));
    change(state);
    RaftLog log(state, &disk_, 0);
  };
  EXPECT_DEATH(start([](PersistentState& s) { s.applied = Pos(4, 2); }), "entry 4 is applied");
  EXPECT_DEATH(start([](PersistentState& s) { s.applied = Pos(2, 1); }), "not the one in the log");
  EXPECT_DEATH(start([](PersistentState& s) { s.first = Index(2); }), "where it was cut off");
  EXPECT_DEATH(start([](PersistentState& s) { s.hard_state.term = Term(1); }),
               "older than the log");
  EXPECT_DEATH(start([](PersistentState& s) { s.terms.pop_back(), s.terms.pop_back(); }),
               "do not cover");
  EXPECT_DEATH(start([](PersistentState& s) { s.terms.back().term = Term(1); }), "do not rise");
  EXPECT_DEATH(start([](PersistentState& s) { s.terms.back().first = Index(9); }), "out of order");
}

}  // namespace
}  // namespace raftkv::raft
