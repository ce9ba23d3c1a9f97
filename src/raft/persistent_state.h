// What a core is built from: the state that was on disk when the node started.
#pragma once

#include <vector>

#include "common/types.h"
#include "raft/membership.h"
#include "raft/term_run.h"

namespace raftkv::raft {

struct PersistentState {
  HardState hard_state;
  Membership membership;
  Index first;  // the first entry in the log; first == last + 1 when it is empty
  Index last;
  LogPosition before_first;    // the entry just before `first`, cut off by a snapshot; 0 if none
  std::vector<TermRun> terms;  // of entries first..last
  LogPosition applied;         // the state machine's position
};

}  // namespace raftkv::raft
