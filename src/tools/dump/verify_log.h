// verify's part on the Raft log: every entry, the records of raft_meta, and what they and the
// applied record say of each other.
#pragma once

#include "store/engine.h"
#include "tools/dump/findings.h"

namespace raftkv::tools::dump {

// Reads every entry once.
void VerifyLog(store::Engine* engine, Findings* findings);

}  // namespace raftkv::tools::dump
