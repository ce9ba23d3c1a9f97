// Whether everything in a stopped node's directory is as it was written.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "tools/dump/report.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

struct VerifyOptions {
  uint64_t shown_max = 20;                    // problems of each check; 0: all
  const ScratchDirectory* scratch = nullptr;  // null: not deep
};

// Reports what it finds in `path`, a node's --data-dir, and changes nothing in it. Reads with
// RocksDB in child processes, so the caller must have opened no database. Not OK: why nothing could
// be found out.
Status Verify(const std::string& path, const VerifyOptions& options, Report* report);

}  // namespace raftkv::tools::dump
