// Whether a node still has what it acknowledged.
//
// Raft counts on it: a leader commits an entry once a majority has acknowledged it, and a vote is
// safe because two majorities share a node that has the entry (paper, 5.4.3). A node whose disk
// lost entries after it acknowledged them breaks that, for all it can tell by its log alone. So it
// is kept from doing harm by what is remembered elsewhere: in a record outside the log
// (src/wal/fence.h), and by its leader, who says in every message what it has counted on.
//
// A node that lost entries stands by its word: it votes only for who has at least what it
// acknowledged, as if it still had that itself, and never asks for votes. What it acknowledges from
// then on is true again, so that it may be counted for commits and heals like any follower that is
// behind. docs/durability.md has the argument.
#pragma once

#include "common/types.h"

namespace raftkv::raft {

// The highest position that a node has ever acknowledged lies between these, both included, in the
// order in which logs are compared (paper, 5.4.1: the later term, then the longer). None: nothing
// is known.
struct AckBounds {
  LogPosition at_least;
  LogPosition at_most;
  // It is known that entries are missing, up to a position between the two. Then a log that has
  // grown to the lower one is not whole yet: only one that has reached the higher one is, for sure.
  bool missing = false;

  bool operator==(const AckBounds&) const = default;
};

// The order of logs that end in `a` and `b`.
inline bool IsBehind(LogPosition a, LogPosition b) {
  return a.term < b.term || (a.term == b.term && a.index < b.index);
}

// Whether a log that ends in `last` lacks entries of which this is known.
inline bool IsShort(LogPosition last, const AckBounds& known) {
  return IsBehind(last, known.at_least) || (known.missing && IsBehind(last, known.at_most));
}

// Owned by the core, on its thread. `last` is always the last position in the log.
class Acknowledged {
 public:
  Acknowledged(const AckBounds& known, LogPosition last);

  // Whether acknowledged entries are missing.
  bool lost() const { return owed_ != AckBounds{}; }
  // What it has to live up to beyond its log; none unless entries are missing. To be remembered
  // outside the log as it is: that they are missing may not be seen by the log alone any more.
  const AckBounds& owed() const { return owed_; }
  // Where a candidate's log must end, at least, to get this node's vote.
  LogPosition VoteFloor(LogPosition last) const;

  // The leader of `term`, which is the node's own, has counted on this node for everything up to
  // `counted` (none: for nothing). `is_final`: it has heard of this run of the node, so that it
  // will count nothing any more that an earlier one acknowledged.
  void OnLeaderSays(Term term, LogPosition counted, bool is_final, LogPosition last);
  // The log has grown, or was replaced.
  void OnLogChange(LogPosition last);

 private:
  AckBounds owed_;
};

}  // namespace raftkv::raft
