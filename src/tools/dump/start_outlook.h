// What a node's start on a directory would find.
#pragma once

#include <string>

#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"
#include "store/engine.h"
#include "wal/log_store.h"
#include "wal/start_check.h"

namespace raftkv::tools::dump {

struct StartOutlook {
  wal::RecoveredLog log;
  store::AppliedRecord applied;
  wal::StartVerdict verdict;
  bool has_fence = false;
  // Known to be committed and not in the applied state: (applied, replay_to] is applied anew, from
  // the log, before the node serves.
  Index replay_to;
};

// Whether a node would start on the data directory `path`, whose database `engine` is: verifies
// what a start verifies once the database is open, with the same functions, and reads the whole
// log. Not OK: why it would not start; kFailedPrecondition: because it must not, though nothing is
// damaged.
StatusOr<StartOutlook> ForeseeStart(const std::string& path, store::Engine* engine);

}  // namespace raftkv::tools::dump
