// The one RocksDB of a node: opens it, owns every option and the three column families.
//
//   raft_meta  who this node is, its hard state and membership    WAL on, synced by the log writer
//   raft_log   the Raft log                                       WAL on, synced by the log writer
//   kv         applied state and the position it stands for       WAL off, written by apply
//
// One database, not two: when RocksDB flushes a column family it first syncs the closed WAL files,
// so applied state that reaches the disk never passes the log it came from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <rocksdb/db.h>

#include "common/status.h"
#include "common/types.h"

namespace raftkv::store {

// The directory's format. A directory with a higher number is refused.
inline constexpr uint32_t kFormatVersion = 1;

// Who a directory belongs to; written once, by Bootstrap.
struct NodeIdentity {
  uint32_t format_version = kFormatVersion;
  ClusterId cluster;
  NodeId node;
  std::string node_name;

  bool operator==(const NodeIdentity&) const = default;
};

// What RocksDB is to make of the WAL files, as found by the WAL scanner (src/wal/wal_scanner.h).
enum class WalRecovery {
  kClean,     // every byte is accounted for: any error while replaying is damage
  kTornTail,  // the newest file ends in a write that was cut off: replay up to there
};

struct EngineOptions {
  std::string path;
  WalRecovery wal_recovery = WalRecovery::kClean;
  uint64_t block_cache_bytes = 256 << 20;
  uint64_t kv_memtable_bytes = 64 << 20;
  uint64_t log_memtable_bytes = 64 << 20;
  // Live WAL files are cut by flushing what pins them once they pass this.
  uint64_t wal_bytes_max = 512 << 20;
  rocksdb::Env* env = nullptr;  // for fault injection in tests; not owned; null: the default
};

// Thread-safe. RocksDB errors are mapped to kIoError, kCorruption or kNotFound with a message.
class Engine {
 public:
  // Makes a new database in `path`, which must not exist, holding `identity` and the extra records
  // (key, value) in raft_meta, durably: it is built beside and renamed into place, so that `path`
  // either does not exist or is whole. A leftover of an interrupted attempt is removed.
  static Status Bootstrap(const EngineOptions& options, const NodeIdentity& identity,
                          const std::vector<std::pair<std::string, std::string>>& raft_meta);

  // Opens what Bootstrap made. Never creates anything: a missing or damaged CURRENT or MANIFEST is
  // kCorruption, on every try. kNotFound when `path` does not exist; kFailedPrecondition when it is
  // of a newer format or holds other column families. After kTornTail the torn file is gone when it
  // returns, so that whatever is written next is never behind a torn write.
  static StatusOr<std::unique_ptr<Engine>> Open(const EngineOptions& options);

  // For inspection of a stopped node: takes no lock, changes no byte, replays the WAL in memory.
  static StatusOr<std::unique_ptr<Engine>> OpenReadOnly(const EngineOptions& options);

  // Everything must be stopped that uses it. Does not flush: see FlushKv.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  rocksdb::DB* db() { return db_.get(); }
  rocksdb::ColumnFamilyHandle* raft_meta() { return raft_meta_; }
  rocksdb::ColumnFamilyHandle* raft_log() { return raft_log_; }
  rocksdb::ColumnFamilyHandle* kv() { return kv_; }

  const NodeIdentity& identity() const { return identity_; }

  // Writes kv's memtable to disk and waits: what was applied before is then durable.
  Status FlushKv();
  // Makes every WAL-backed column family not need the WAL, so that a start after a clean stop has
  // nothing to replay, and syncs. Called once, last, in a clean stop.
  Status FlushAll();

  // The value of `key` in kv as of the last flush (ReadTier kPersistedTier; DESIGN fact 2: right
  // only for a column family that is written without WAL). kNotFound before the first flush.
  StatusOr<std::string> GetFlushedKv(const std::string& key) const;

  // A RocksDB integer property of one column family, or 0.
  uint64_t IntProperty(rocksdb::ColumnFamilyHandle* family, const std::string& name) const;
  // Bytes of all SST and WAL files.
  uint64_t DiskBytes() const;

 private:
  Engine() = default;
  Status OpenDatabase(const rocksdb::DBOptions& db_options, const EngineOptions& options,
                      bool read_only);
  Status RetireTornWal();
  Status Close();

  std::string path_;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* raft_meta_ = nullptr;
  rocksdb::ColumnFamilyHandle* raft_log_ = nullptr;
  rocksdb::ColumnFamilyHandle* kv_ = nullptr;
  NodeIdentity identity_;
};

// RocksDB's status in our terms; `what` says what was being done.
Status FromRocksDb(const rocksdb::Status& status, const std::string& what);

}  // namespace raftkv::store
