// verify's part on the applied state: every record of its column family, and what they say of each
// other.
#pragma once

#include <optional>

#include "common/status.h"
#include "store/applied_record.h"
#include "store/engine.h"
#include "tools/dump/findings.h"

namespace raftkv::tools::dump {

// Reads everything once, and the versions once more if they and the revision index disagree. What
// can't be read is reported and skipped.
void VerifyKv(store::Engine* engine, Findings* findings);

}  // namespace raftkv::tools::dump
