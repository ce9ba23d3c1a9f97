// Whether a node may start on a log that is intact, and as what: what its configuration says of it,
// and what it has promised (src/wal/fence.h), against what is left in the database.
#pragma once

#include <optional>
#include <string>

#include "common/status.h"
#include "common/types.h"
#include "wal/fence.h"
#include "wal/log_store.h"

namespace raftkv::wal {

struct StartVerdict {
  // To go on with: with the fence's term and vote, where the database forgot them.
  HardState hard_state;
  bool forgot_vote = false;
  // What this node acknowledged and its log does not have; empty: nothing is missing. The other
  // members have it, or may have it: the node starts, fetches it, and until then helps to elect
  // nobody who lacks it.
  std::string lost;
};

// `fence`: what the fence in `data_dir` says; nothing when there is none. kFailedPrecondition when
// `node` was removed from its cluster, kCorruption when entries are lost that it alone had: then it
// does not start, and the message says what to do.
StatusOr<StartVerdict> CheckStart(const RecoveredLog& log, const std::optional<FenceRecord>& fence,
                                  NodeId node, const std::string& data_dir);

}  // namespace raftkv::wal
