// How the core reads entries that are no longer in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/types.h"

namespace raftkv::raft {

class LogReader {
 public:
  virtual ~LogReader() = default;

  // Appends the durable entries from `from` up to and including `to` to `out`, in order, stopping
  // early once `bytes_max` (by EntryBytes) would be passed, but never before the first. A missing
  // or damaged entry is kCorruption.
  virtual Status Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const = 0;
};

}  // namespace raftkv::raft
