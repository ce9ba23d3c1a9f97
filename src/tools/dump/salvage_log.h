// The part of a damaged log that is proven.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <rocksdb/db.h>

#include "common/status.h"
#include "common/types.h"
#include "raft/log_reader.h"
#include "tools/dump/salvage_database.h"

namespace raftkv::tools::dump {

// Not thread-safe.
class SalvagedLog : public raft::LogReader {
 public:
  // Both must outlive it.
  SalvagedLog(const SalvagedDatabase& database, const TableList& tables);

  // Whether the log is known to begin at 1: its start is on record, and it was never cut.
  bool BeginsAtOne() const { return knows_start_ && before_first_.index.none(); }
  LogPosition before_first() const { return before_first_; }
  Index commit() const { return commit_; }  // in the newest hard state left; none: none is left
  // Of the last entry that is left, proven or not; none: there is none. The highest term where that
  // entry does not say.
  LogPosition end() const;

  // Finds the entries that are proven to follow a state as of `after`: intact, contiguous, of terms
  // that do not fall, and none of them can have been replaced by one in a table that is lost.
  Status Prove(const LogPosition& after);

  // The last proven one, or `after` itself.
  Index last() const { return last_; }
  // What is behind it: why it is not proven (empty: there is nothing), how many entries are intact,
  // and the last of them.
  const std::string& stopped_by() const { return stopped_by_; }
  uint64_t unproven() const { return unproven_; }
  Index unproven_last() const { return unproven_last_; }

  // Of proven entries.
  Status Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const override;

 private:
  std::string CheckJoin(const LogPosition& after) const;
  bool MayBeInLostTable(Index index) const;

  rocksdb::DB* const db_;
  rocksdb::ColumnFamilyHandle* const family_;
  std::vector<std::pair<Index, Index>> lost_;  // the ranges of lost tables
  LogPosition before_first_;
  bool knows_start_ = false;
  Index commit_;
  Index last_;
  std::string stopped_by_;
  uint64_t unproven_ = 0;
  Index unproven_last_;
};

}  // namespace raftkv::tools::dump
