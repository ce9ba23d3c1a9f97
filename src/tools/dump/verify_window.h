// Whether the entries that a cut log still has are in the stored state.
#pragma once

#include "store/applied_record.h"
#include "store/engine.h"
#include "tools/dump/findings.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// What came before the log's start can't be applied again, but what came since can be looked for:
// walks back from the applied entry, and from the state's revision with it. An entry that must have
// changed something must be what the revision index says was changed, with its value; for one that
// may have changed nothing (a transaction, a delete, a retried write) both are followed up. Reads
// one version for each entry. `report` is for progress.
void VerifyWindow(store::Engine* engine, const store::AppliedRecord& applied,
                  const LogBounds& bounds, Report* report, Findings* findings);

}  // namespace raftkv::tools::dump
