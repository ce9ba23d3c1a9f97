// Runs work that may crash in a process of its own.
//
// Debian's RocksDB is built with its assertions on, and some damaged files make it abort where it
// could return a Status. For a tool whose purpose is to look at damage, that is a finding.
#pragma once

#include <functional>
#include <string>

#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// Runs `work` with a Report on `fd` in a forked child, and returns its exit code. If the child
// dies, what it had reported is still written, the way it died is reported as a problem with the
// last line it wrote to standard error, and the code is kExitProblems. The caller must have no
// other threads. Interrupts go to the child; this returns once it has ended, so that the caller can
// clean up.
int RunInChild(Format format, int fd, const std::function<int(Report*)>& work);

}  // namespace raftkv::tools::dump
