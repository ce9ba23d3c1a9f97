// What a database holds, read by nothing of what the tests test: plain RocksDB with its own
// defaults. With it a test decides whether damage did any harm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace raftkv::tools::dump {

struct LogicalContents {
  std::string log;       // digest of every record of raft_meta, and of the log from its start on
  std::string state;     // digest of the applied state in use
  uint64_t last = 0;     // index of the last log entry, or of the position before an empty log
  uint64_t applied = 0;  // index; 0: nothing was flushed
  uint64_t commit = 0;   // in the hard state

  // Entries known to be committed are there.
  bool Covers() const { return last >= applied && last >= commit; }
};

// In a child process. Any error, or a crash: it can't be read.
StatusOr<LogicalContents> ReadLogicalContents(const std::string& db_path);

// Where the records of an undamaged WAL file begin, and where the last whole one ends.
std::vector<uint64_t> RecordBoundaries(const std::string& wal);

}  // namespace raftkv::tools::dump
