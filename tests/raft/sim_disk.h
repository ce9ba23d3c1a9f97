// A disk that can lose what was not synced, for driving cores by hand.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "raft/core.h"

namespace raftkv::raft {

// Write tasks queue up until they are synced one by one; a crash keeps the synced ones and as many
// of the others, in order, as the caller says: a task is one atomic batch, as in the log writer.
class SimDisk : public LogReader {
 public:
  // A new node's disk: no log, as if everything up to `start` had been applied and cut off.
  explicit SimDisk(Membership membership, LogPosition start = {});

  // Replaces what is on disk by a log that was cut off after `start`, of entries with `terms`.
  void SetLog(const HardState& hard_state, LogPosition start, const std::vector<Term>& terms);

  void Submit(AppendTask task) { unsynced_.push_back(std::move(task)); }
  size_t unsynced() const { return unsynced_.size(); }
  // Makes the oldest task durable and returns it, for its after_sync.
  AppendTask SyncNext();
  // Makes the first `keep` of the unsynced tasks durable and forgets the others.
  void Crash(size_t keep);

  // Loses what was durable after `last`, at a time when nothing is unsynced. What was acknowledged
  // is remembered beside the log (Load), as src/wal/fence.h does; of that, what was noted after
  // `noted`, the index of an entry, is lost as well.
  void Lose(Index last) { Lose(last, this->last()); }
  void Lose(Index last, Index noted);
  // Loses what is remembered beside the log.
  void Forget() { acknowledged_ = {}; }
  bool HasLost(LogPosition position) const { return lost_.contains(position); }
  // Whether all that was acknowledged is there, and the node need not think otherwise: one that
  // only can't tell votes as if it were still short.
  bool IsWhole() const {
    return !IsBehind(last_position(), promised_) && !IsShort(last_position(), acknowledged_);
  }

  // What a start finds, the state machine having been restored up to `applied`.
  PersistentState Load(Index applied) const;

  Status Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const override;

  const HardState& hard_state() const { return hard_state_; }
  Index last() const { return entries_.empty() ? start_.index : entries_.rbegin()->first; }
  LogPosition last_position() const { return {last(), *TermAt(last())}; }
  LogPosition start() const { return start_; }
  std::optional<Term> TermAt(Index index) const;
  const std::map<Index, Entry>& entries() const { return entries_; }
  // As of start().
  const Membership& membership() const { return membership_; }

 private:
  void Write(const AppendTask& task);

  Membership membership_;
  LogPosition start_;
  HardState hard_state_;
  std::map<Index, Entry> entries_;
  std::deque<AppendTask> unsynced_;
  AckBounds acknowledged_;  // as far as it is remembered
  LogPosition promised_;    // as it was; nobody but tests can know
  std::set<LogPosition> lost_;
};

}  // namespace raftkv::raft
