// What a node's start on a directory would find.
#pragma once

#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"
#include "store/engine.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {

struct StartOutlook {
  wal::RecoveredLog log;
  store::AppliedRecord applied;
  // Known to be committed and not in the applied state: (applied, replay_to] is applied anew, from
  // the log, before the node serves.
  Index replay_to;
};

// Verifies what a start verifies once the database is open, with the same functions: reads the
// whole log. Not OK: why a node would not start.
StatusOr<StartOutlook> ForeseeStart(store::Engine* engine);

}  // namespace raftkv::tools::dump
