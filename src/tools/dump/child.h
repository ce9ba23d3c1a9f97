// Runs work that may crash in a process of its own.
//
// Debian's RocksDB is built with its assertions on, and some damaged files make it abort where it
// could return a Status. For a tool whose purpose is to look at damage, that is a finding.
#pragma once

#include <functional>
#include <string>

#include "common/status.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// Runs `work` with a Report on `output` in a forked child, and returns its exit code. If the child
// dies, what it had reported is still written, the way it died is reported as a problem with the
// last line it wrote to standard error, and the code is kExitProblems. The caller must have no
// other threads. Interrupts go to the child; this returns once it has ended, so that the caller can
// clean up. `output.terminal_fd` is set here, if standard error is a terminal.
int RunInChild(Output output, const std::function<int(Report*)>& work);

// For work of which a crash is to be survived by the work around it, inside RunInChild or not:
// calls `work` in a forked child and returns what it returned, or kCorruption with how the child
// died and its last line on standard error (which goes nowhere else). The caller must have opened
// no database: the child would have none of its threads.
StatusOr<std::string> CallInChild(const std::function<StatusOr<std::string>()>& work);

}  // namespace raftkv::tools::dump
