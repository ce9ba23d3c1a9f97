// verify's part on the tables (SST files).
#pragma once

#include <string>

#include "common/status.h"
#include "store/engine.h"
#include "tools/dump/findings.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// Reads every block of every table that is in use and checks its checksum, each table in a child
// process. Where the MANIFEST can't be read, of every table there is. `report` is for progress. Not
// OK when the tables can't be listed.
Status VerifyTables(const std::string& db_path, Report* report, Findings* findings);

// Looks into the tables that the MANIFEST does not name. A crash leaves such a table when it comes
// between its last byte and the MANIFEST's record of it; all of it is then in WAL and log as well.
// One that knows of more than they do is a witness that the MANIFEST or the WAL lost its end, which
// by themselves look like what a crash leaves. The caller is a child process (steps.h).
void VerifyUnusedTables(store::Engine* engine, const std::string& db_path, Findings* findings);

}  // namespace raftkv::tools::dump
