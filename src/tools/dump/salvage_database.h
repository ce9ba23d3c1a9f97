// What can be read of a damaged database: its intact tables and WAL records, put together in a
// scratch database.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/db.h>

#include "common/status.h"
#include "common/types.h"
#include "raft/log_reader.h"
#include "store/engine.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/salvage_tables.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

// What came behind damage in the WAL and is intact, but is not applied: between the two something
// is missing.
struct WalTail {
  std::string damage;  // where and what; empty: all of the WAL was read
  uint64_t records = 0;
  Index first_entry;  // of the log entries in them; none: there are none
  Index last_entry;
};

// Not thread-safe.
class SalvagedDatabase {
 public:
  // Links the intact tables into the scratch directory and has RocksDB make a database of them
  // (RepairDB, in a child process); then writes what the WAL adds to raft_meta and raft_log, in
  // order, up to the first damage that the tables do not make up for. What an earlier one left in
  // the scratch directory is removed; it must be gone itself.
  static StatusOr<std::unique_ptr<SalvagedDatabase>> Make(const std::string& db_path,
                                                          const TableList& tables,
                                                          const ScratchDirectory& scratch);
  ~SalvagedDatabase();

  rocksdb::DB* db() const { return db_.get(); }
  const WalTail& wal_tail() const { return tail_; }

  // Null where the family has nothing.
  rocksdb::ColumnFamilyHandle* family(const std::string& name) const;
  // The family of the applied state: kv_family says which; where that is lost, the newest.
  std::string KvFamily() const;

 private:
  SalvagedDatabase() = default;
  Status Open(const std::string& path);
  Status ReadWal(const std::string& db_path);

  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  WalTail tail_;
};

}  // namespace raftkv::tools::dump
