#include "raft/acknowledged.h"

#include "common/mutation.h"

namespace raftkv::raft {

// Between the bounds a log may be whole or not: nobody can tell by it, and most often a crash took
// nothing away. Unless it is known that something was.
Acknowledged::Acknowledged(const AckBounds& known, LogPosition last) {
  if (Mutated(Mutation::kLostVotes) || !IsShort(last, known)) return;
  owed_ = known;
  owed_.missing = true;
}

LogPosition Acknowledged::VoteFloor(LogPosition last) const {
  return IsBehind(last, owed_.at_most) ? owed_.at_most : last;
}

void Acknowledged::OnLeaderSays(Term term, LogPosition counted, LogPosition last) {
  if (Mutated(Mutation::kLostVotes)) return;
  if (IsBehind(last, counted) && IsBehind(owed_.at_least, counted)) {
    owed_.at_least = counted;
    if (IsBehind(owed_.at_most, counted)) owed_.at_most = counted;
    owed_.missing = true;
  }
  // What was acknowledged in this term was acknowledged to this leader, so that it knows best.
  if (lost() && owed_.at_most.term == term) {
    if (IsBehind(owed_.at_least, counted)) owed_.at_least = counted;
    owed_.at_most = owed_.at_least;
    OnLogChange(last);
  }
}

void Acknowledged::OnLogChange(LogPosition last) {
  if (!IsBehind(last, owed_.at_most)) owed_ = {};
}

}  // namespace raftkv::raft
