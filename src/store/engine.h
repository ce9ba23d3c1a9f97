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
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/options.h>

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
  // For what is kept in memory of what is on disk: all but an eighth of it for RocksDB's blocks,
  // the eighth for the newest versions of keys (newest_versions.h).
  uint64_t block_cache_bytes = 256 << 20;
  uint64_t kv_memtable_bytes = 64 << 20;
  uint64_t log_memtable_bytes = 64 << 20;
  // Live WAL files are cut by flushing what pins them once they pass this. They do reach it: the
  // few records of raft_meta pin them for as long as nothing else makes it be flushed. A start
  // reads all of them, so no more is let grow than the memtables of the log and of kv would pin
  // anyway.
  uint64_t wal_bytes_max = 128 << 20;
  rocksdb::Env* env = nullptr;  // for fault injection in tests; not owned; null: the default
  // OpenReadOnly alone: where a look at a running node's database may write its own info log.
  std::string secondary_path;
};

// A column family in use. The last who lets go destroys the handle, and with it the data if the
// family was dropped meanwhile; all must be gone before the engine is.
using FamilyHandle = std::shared_ptr<rocksdb::ColumnFamilyHandle>;

// Thread-safe. RocksDB errors are mapped to kIoError, kCorruption or kNotFound with a message.
class Engine {
 public:
  // Makes a new database in `path`, which must not exist, holding `identity` and the extra records
  // (key, value) in raft_meta, durably: it is built beside and renamed into place, so that `path`
  // either does not exist or is whole. A leftover of an interrupted attempt is removed. `kv_tables`
  // (as for StageKv) become the applied state: for a restored backup.
  static Status Bootstrap(const EngineOptions& options, const NodeIdentity& identity,
                          const std::vector<std::pair<std::string, std::string>>& raft_meta,
                          const std::vector<std::string>& kv_tables = {});

  // Opens what Bootstrap made. Never creates anything: a missing or damaged CURRENT or MANIFEST is
  // kCorruption, on every try. kNotFound when `path` does not exist; kFailedPrecondition when it is
  // of a newer format or holds other column families. When it returns, all that it found is in
  // tables and synced, also what a killed process had written and not synced, and the WAL files it
  // found are empty or gone, so that whatever is written next is never behind a torn write.
  static StatusOr<std::unique_ptr<Engine>> Open(const EngineOptions& options);

  // For inspection: takes no lock, changes no byte, replays the WAL in memory. While a node runs on
  // the database, only with `secondary_path`: as RocksDB's secondary instance, which sees the state
  // as of some moment of the opening, without what was applied and not flushed since kv has no WAL.
  // What the node does meanwhile can make it fail; a second try is then right.
  static StatusOr<std::unique_ptr<Engine>> OpenReadOnly(const EngineOptions& options);

  // Everything must be stopped that uses it. Does not flush: see FlushKv.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  rocksdb::DB* db() { return db_.get(); }
  rocksdb::ColumnFamilyHandle* raft_meta() { return raft_meta_; }
  rocksdb::ColumnFamilyHandle* raft_log() { return raft_log_; }
  // The applied state's family as of now. A snapshot that is installed puts another in its place,
  // so who reads holds the handle for as long as it reads.
  FamilyHandle kv() const;

  const NodeIdentity& identity() const { return identity_; }
  // How much memory the newest versions may take.
  uint64_t newest_versions_bytes() const { return newest_versions_bytes_; }

  // Writes kv's memtable to disk and waits: what was applied before is then durable.
  Status FlushKv();
  // Writes the memtables of raft_meta and raft_log to disk and waits. WAL files from before are
  // then needed by nobody, if kv was flushed too, and go.
  Status FlushLog();
  // Makes every WAL-backed column family not need the WAL, so that a start after a clean stop has
  // nothing to replay, and syncs. Called once, last, in a clean stop.
  Status FlushAll();

  // --- Replacing the applied state as a whole (a snapshot that is installed) ---
  //
  // The new state is staged as a family of its own, named "kv.<id>"; raft_meta's record `kv_family`
  // says which family is the applied state ("kv" where there is none). One batch with that record
  // switches over, so a crash leaves the old state or the new one. Open removes families that are
  // not the applied state.

  // Makes a family out of sorted tables (rocksdb::SstFileWriter with StagedTableOptions,
  // engine_options.h), which are moved into the database, and syncs all of it. Returns its id,
  // which no family in this directory has. Tables whose keys overlap are kInvalidArgument.
  StatusOr<uint64_t> StageKv(const std::vector<std::string>& tables);
  // Removes a staged family that will not be used. kNotFound when there is none of that id.
  Status DropStagedKv(uint64_t id);
  // The raft_meta record that makes the staged family `id` the applied state. The log writer writes
  // it, in one batch with the log's new start.
  static std::pair<std::string, std::string> KvFamilyRecord(uint64_t id);
  // That record is on disk: kv() is the staged family from now on, and the former one is dropped;
  // its files go when the last handle does. kFailedPrecondition when the record says otherwise.
  Status AdoptStagedKv(uint64_t id);

  // Makes a hard-linked copy of the database as of now in `path`, which must not exist, without
  // holding up writes; kv is flushed first. For OpenReadOnly; remove it with RemoveTree.
  Status MakeCheckpoint(const std::string& path);

  // The value of `key` in kv as of the last flush (ReadTier kPersistedTier; DESIGN fact 2: right
  // only for a column family that is written without WAL). kNotFound before the first flush.
  StatusOr<std::string> GetFlushedKv(const std::string& key) const;

  // A RocksDB integer property of one column family, or 0.
  uint64_t IntProperty(rocksdb::ColumnFamilyHandle* family, const std::string& name) const;
  // Bytes of all SST and WAL files.
  uint64_t DiskBytes() const;

 private:
  Engine() = default;
  enum class Access { kWrite, kRead, kReadWhileRunning };
  // `kv_families`: the names of those that may be the applied state.
  Status OpenDatabase(const rocksdb::DBOptions& db_options, const EngineOptions& options,
                      const std::vector<std::string>& kv_families, Access access);
  FamilyHandle Own(rocksdb::ColumnFamilyHandle* handle);
  Status RetireWal();
  Status Close();

  // engine_kv.cc
  Status ChooseKv(const std::map<uint64_t, FamilyHandle>& families);
  Status DropUnusedKv();
  StatusOr<uint64_t> KvFamilyOnRecord() const;
  StatusOr<FamilyHandle> TakeStaged(uint64_t id);
  Status Ingest(rocksdb::ColumnFamilyHandle* family, const std::vector<std::string>& tables);

  std::string path_;
  uint64_t newest_versions_bytes_ = 0;
  rocksdb::ColumnFamilyOptions kv_options_;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* raft_meta_ = nullptr;
  rocksdb::ColumnFamilyHandle* raft_log_ = nullptr;
  mutable std::mutex kv_mutex_;  // guards the next three
  FamilyHandle kv_;
  std::map<uint64_t, FamilyHandle> staged_;
  uint64_t last_kv_id_ = 0;  // the highest there ever was, as far as this directory knows
  NodeIdentity identity_;
};

// Has RocksDB stop counting, on the calling thread, the comparisons and block reads it does. Nobody
// reads these counts, and as RocksDB is a shared library each costs calls to find the thread's
// copy: a twelfth of a put. Costs nearly nothing; for the beginning of work.
void StopCountingOnThisThread();

// RocksDB's status in our terms; `what` says what was being done.
Status FromRocksDb(const rocksdb::Status& status, const std::string& what);

}  // namespace raftkv::store
