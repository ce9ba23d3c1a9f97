// The configurations a log amounts to: the one at its start and those of its configuration entries.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "raft/persistent_state.h"

namespace raftkv::raft {

// A configuration is in force from the moment its entry is in the log, committed or not (thesis
// 4.1); so one whose entry is overwritten is in force no more, and the one before it is again. That
// is why all of them are kept, and not the last only.
//
// Part of RaftLog, which tells it of every change of the log.
class ConfigHistory {
 public:
  // `configs` must be in order of index.
  ConfigHistory(Membership base, const std::vector<ConfigEntry>& configs);

  // The configuration in force.
  const Membership& current() const {
    return entries_.empty() ? base_ : entries_.back().membership;
  }
  // Of its entry; none when it is that of the log's start.
  Index index() const { return entries_.empty() ? Index() : entries_.back().index; }
  // Changes whenever current() may have changed.
  uint64_t version() const { return version_; }
  // The configuration at the log's start.
  const Membership& base() const { return base_; }
  const std::deque<ConfigEntry>& entries() const { return entries_; }

  // An entry was added at the log's end. Aborts if it is a configuration that can't be read.
  void OnAppended(const Entry& entry);
  // The entries at and above `from` are gone.
  void OnTruncated(Index from);
  // The log starts after `index` now.
  void OnCut(Index index);
  // A snapshot took the place of the log.
  void OnReplaced(Membership base);

 private:
  Membership base_;
  std::deque<ConfigEntry> entries_;
  uint64_t version_ = 0;
};

}  // namespace raftkv::raft
