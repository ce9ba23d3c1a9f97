// verify's part on whether the log makes the state that is stored.
#pragma once

#include "store/engine.h"
#include "tools/dump/findings.h"
#include "tools/dump/report.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

// Applies the log to an empty store in `scratch`, up to the stored state's index, and compares the
// two record by record. Where the log does not begin at index 1 that can't be done: a note says
// what it would take, and VerifyWindow does what can be. `report` is for progress.
void VerifyReplay(store::Engine* engine, const ScratchDirectory& scratch, Report* report,
                  Findings* findings);

}  // namespace raftkv::tools::dump
