// raftkv-dump log: the Raft log, entry by entry.
#pragma once

#include <optional>

#include "tools/dump/directory.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

struct LogOptions {
  std::optional<uint64_t> from;  // none: the first entry
  std::optional<uint64_t> to;    // none: the last
  bool values = false;           // show the bytes of values, not only their size
};

// Reports every entry in the range and, as problems, damaged entries, gaps and terms that go back.
// An error is why it could not be done.
Status DumpLog(const NodeDirectory& directory, const LogOptions& options, Report* report);

}  // namespace raftkv::tools::dump
