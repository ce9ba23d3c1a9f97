// What a core is built from: the state that was on disk when the node started.
#pragma once

#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "raft/acknowledged.h"
#include "raft/term_run.h"

namespace raftkv::raft {

// A configuration entry in the log. It is in force from the moment it is in the log, committed or
// not (thesis 4.1).
struct ConfigEntry {
  Index index;
  Membership membership;

  bool operator==(const ConfigEntry&) const = default;
};

struct PersistentState {
  HardState hard_state;
  Membership membership;             // as of `before_first`: what the entries below it amount to
  std::vector<ConfigEntry> configs;  // those in the log, in order of index
  Index first;  // the first entry in the log; first == last + 1 when it is empty
  Index last;
  LogPosition before_first;    // the entry just before `first`, cut off by a snapshot; 0 if none
  std::vector<TermRun> terms;  // of entries first..last
  LogPosition applied;         // the state machine's position
  AckBounds acknowledged;      // what is known of it from outside the log
};

}  // namespace raftkv::raft
