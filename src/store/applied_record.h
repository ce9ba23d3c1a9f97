// What the applied state stands for: the position in the Raft log, and the store's own counters.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "store/session_limits.h"

namespace raftkv::store {

// Written in the same batch as the data it describes. All but `compacted_to` is replicated state:
// equal on every node that applied the same entries.
struct AppliedRecord {
  LogPosition position;          // the last entry applied
  int64_t revision = 1;          // of the store; 1 when nothing was ever written
  int64_t compact_revision = 0;  // reads below it are refused; 0: never compacted
  int64_t compacted_to = 0;      // old versions are physically gone up to here (local progress)
  uint64_t time_ms = 0;          // the state machine's clock: the highest leader time applied
  uint64_t sessions = 0;         // how many exist
  // A restore raised the revision to this, without a change of that revision; 0: none ever did.
  int64_t bumped_to = 0;
  SessionLimits session_limits;  // in force from the next command on

  bool operator==(const AppliedRecord&) const = default;
};

}  // namespace raftkv::store
