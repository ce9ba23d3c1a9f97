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

void Acknowledged::OnLeaderSays(Term term, LogPosition counted, bool is_final, LogPosition last) {
  if (Mutated(Mutation::kLostVotes)) return;
  if (IsBehind(last, counted) && IsBehind(owed_.at_least, counted)) {
    owed_.at_least = counted;
    if (IsBehind(owed_.at_most, counted)) owed_.at_most = counted;
    owed_.missing = true;
  }
  // What was acknowledged in this term was acknowledged to this leader, so that it knows best. Of
  // what was before, it knows nothing; but an entry of its term is beyond all of that.
  if (lost() && is_final && owed_.at_most.term == term) {
    const LogPosition known =
        counted.term == term ? counted : LogPosition{Index(UINT64_MAX), Term(term.value() - 1)};
    owed_.at_most = IsBehind(owed_.at_least, known) ? known : owed_.at_least;
    if (counted.term == term) owed_.at_least = owed_.at_most;
    OnLogChange(last);
  }
}

void Acknowledged::OnLogChange(LogPosition last) {
  if (!IsBehind(last, owed_.at_most)) owed_ = {};
}

}  // namespace raftkv::raft
