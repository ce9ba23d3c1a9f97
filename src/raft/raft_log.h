// The log as the core sees it: which entries there are, how far they are durable, committed and
// applied, and those of them that are in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "raft/config_history.h"
#include "raft/log_reader.h"
#include "raft/persistent_state.h"
#include "raft/term_run.h"

namespace raftkv::raft {

// Four positions move up along the log:
//
//   applied <= applying <= min(commit, durable)     commit <= last, durable <= submitted <= last
//
// `commit` and `durable` are independent: a leader may learn that two followers stored an entry
// before its own disk did (thesis 10.2.1), and an entry on the local disk may not be committed yet.
//
// A snapshot that takes the log's place moves the log's start beyond them: it counts as durable
// once its write is, and as applied once the state machine is said to have reached it. Until then
// nothing else is handed out to be applied.
//
// An entry stays in memory until it is both durable and committed, and then while the cache has
// room; older ones come back from the LogReader, also to be applied, where that lags behind. Terms
// always come from the term runs, so that no decision waits for the disk.
//
// Owned by the core, on its thread.
class RaftLog {
 public:
  // `reader` must outlive it. Aborts if `state` contradicts itself: such a node must not start.
  RaftLog(const PersistentState& state, const LogReader* reader, uint64_t cache_bytes_max);

  Index first() const { return before_first_.index + 1; }
  Index last() const { return last_; }
  Index commit() const { return commit_; }
  Index durable() const { return durable_; }
  Index applied() const { return applied_; }
  // Handed out to be applied, reported or not.
  Index applying() const { return applying_; }
  LogPosition before_first() const { return before_first_; }
  // The configurations of its entries, and that of its start.
  const ConfigHistory& configs() const { return configs_; }
  LogPosition last_position() const;

  // The term of the entry at `index`; that of the entry cut off just before first() is known too.
  std::optional<Term> TermAt(Index index) const;
  // Whether that very entry is in the log (or is the one cut off just before first()).
  bool Contains(LogPosition position) const;

  // The highest position at or below `index` whose term is at most `term`: nothing above it can
  // agree with a log that has `term` at `index`, so a leader can skip whole terms (paper, end of
  // 5.3). Where the log was cut off the answer's term is none: the other log ends down there.
  LogPosition LastAtOrBelow(Index index, Term term) const;

  // Adds an entry of the leader's own at the end.
  void Append(Entry entry);

  // Makes the log hold `entries`, which are contiguous and follow an entry that is in the log. What
  // is there already is left alone, with all that follows it: an append may arrive twice and late.
  // The first entry that conflicts removes its namesake and everything after it; those removed are
  // returned. Aborts if one of them is committed.
  std::vector<Entry> Merge(std::span<Entry> entries);

  // Forgets the entries up to `index`, or to applied() if that is less: the log starts after them.
  // True if that changed anything.
  bool CutTo(Index index);

  // Puts a snapshot in the place of the whole log, committed up to there. It must be beyond
  // commit(), and the one before it, if any, must have been applied. Returns the entries in memory
  // that were not committed.
  std::vector<Entry> Install(LogPosition last, const Membership& membership);
  // Whether a snapshot has been installed and not been applied.
  bool Installing() const { return applied_ < before_first_.index; }
  // Whether such a snapshot is on disk and has yet to be handed to the state machine.
  bool HasInstall() const {
    return applying_ < before_first_.index && durable_ >= before_first_.index;
  }
  // It is handed out.
  void TakeInstall();

  // Raises the commit index; never lowers it. Aborts beyond last().
  void CommitTo(Index index);

  // Adds entries from `from` to at most `to` to `out`, stopping before `bytes_max` or `entries_max`
  // would be passed, but never before the first. From memory, or the disk for what is not there.
  void Read(Index from, Index to, uint64_t bytes_max, uint64_t entries_max,
            std::vector<Entry>* out) const;
  bool InMemory(Index index) const { return index >= tail_first() && index <= last_; }
  // An entry that InMemory.
  const Entry& At(Index index) const { return tail_[index - tail_first()]; }

  // Whether entries, a truncation, a new start or a snapshot wait to be written.
  bool HasWrite() const {
    return !truncate_from_.none() || submitted_ < last_ || cut_unwritten_ || install_unwritten_;
  }
  // Whether the next write must begin by replacing the log by the snapshot installed.
  bool WritesInstall() const { return install_unwritten_; }
  // Whether the next write must store before_first() as the log's new start.
  bool WritesCut() const { return cut_unwritten_; }
  // Takes what waits to be written as part of the disk write `seq`; writes are numbered upwards.
  // `truncate_from` is left alone when there is nothing to remove.
  void TakeWrite(uint64_t seq, Index* truncate_from, std::vector<Entry>* entries);
  // The write `seq`, and those before it, are on disk.
  void OnWritten(uint64_t seq);

  // Whether TakeApply would return something, while less than `bytes_max` is in flight.
  bool HasApply(uint64_t bytes_max) const;
  // The next entries to apply: committed and durable. What is in flight in all passes `bytes_max`
  // by less than one entry.
  std::vector<Entry> TakeApply(uint64_t bytes_max);
  // Applied up to `index`; an index that moves nothing is ignored. Aborts beyond applying().
  void OnApplied(Index index);

  uint64_t applying_bytes() const { return applying_bytes_; }
  // Of the entries in memory that could be dropped, and of those that could not.
  uint64_t cached_bytes() const { return cached_bytes_; }
  uint64_t held_bytes() const { return held_bytes_; }

  // See core.h.
  void CheckInvariants() const;

 private:
  // A write handed out and not yet reported. `last` is how far the log is on disk once it is done;
  // a later truncation lowers it, so that a completion can't vouch for entries that took the place
  // of those it wrote.
  struct Write {
    uint64_t seq = 0;
    Index last;
  };
  struct Applying {
    Index last;
    uint64_t bytes = 0;
  };

  Index tail_first() const { return last_ + 1 - tail_.size(); }
  void Push(Entry entry);
  void Truncate(Index from, std::vector<Entry>* removed);
  // Counts what became both durable and committed as cache, and drops what the cache can't hold.
  void TrimCache();

  const LogReader* const reader_;
  const uint64_t cache_bytes_max_;

  LogPosition before_first_;
  std::vector<TermRun> terms_;
  ConfigHistory configs_;
  Index last_;
  Index commit_;
  Index durable_;
  Index applied_;
  Index applying_;

  std::deque<Entry> tail_;     // the entries up to last_ that are in memory
  Index cached_to_;            // entries in memory up to here are durable and committed...
  uint64_t cached_bytes_ = 0;  // ...and this large
  uint64_t held_bytes_ = 0;    // of the others in memory

  Index submitted_;      // handed out to be written up to here
  Index truncate_from_;  // to be removed from disk with the next write; none: nothing
  bool cut_unwritten_ = false;
  bool install_unwritten_ = false;
  std::deque<Write> writes_;

  std::deque<Applying> applying_tasks_;
  uint64_t applying_bytes_ = 0;
};

}  // namespace raftkv::raft
