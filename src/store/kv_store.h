// The applied state: a multi-version key-value store with etcd's semantics on RocksDB's kv column
// family. No index of keys is kept in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/types.h"
#include "rpc.pb.h"
#include "store/applied_record.h"
#include "store/apply_result.h"
#include "store/compactor.h"
#include "store/engine.h"
#include "store/session_table.h"

namespace raftkv::store {

// Part of the replicated state: every node of a cluster must run with the same.
struct KvStoreOptions {
  uint64_t sessions_max = 100'000;
  uint64_t session_ttl_ms = 60 * 60 * 1000;
};

// Reads are thread-safe and may run beside Apply; Apply and CompactStep belong to the apply thread.
class KvStore {
 public:
  // Reads the applied record and checks it, also against the newest revision in the index.
  // kCorruption when it is damaged or of a newer format.
  static StatusOr<std::unique_ptr<KvStore>> Open(Engine* engine, const KvStoreOptions& options);

  // As of the last Apply that returned. Any thread.
  AppliedRecord applied() const;
  int64_t revision() const;
  int64_t compact_revision() const;
  // The applied record on disk: what a crash now would leave (DESIGN fact 2).
  StatusOr<AppliedRecord> DurableApplied() const;

  // Applies entries in order, all of them in one RocksDB batch without WAL, together with the
  // applied record. `results` gets one per entry (monostate for no-ops). Requests that fail
  // (compacted, key not found...) are results; an entry that can't be decoded or a RocksDB error
  // aborts the process: going on would let this replica diverge.
  void Apply(std::span<const Entry> entries, std::vector<ApplyResult>* results);

  // Removes old versions that the compact revision made unreachable, looking at up to
  // `versions_max` changes of the revision index. True while more remain. Deletes versions below,
  // never the one a read at the compact revision needs.
  bool CompactStep(size_t versions_max);

  // A read at one consistent revision. Errors: ErrCompacted, ErrFutureRevision; kCorruption, with
  // the key, for a record that fails its checksum.
  StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request) const;
  // A transaction for which IsReadOnly holds.
  StatusOr<etcdserverpb::TxnResponse> ReadOnlyTxn(const etcdserverpb::TxnRequest& request) const;

  // Published member attributes (name, client URLs), by node id. Open has read them all; a record
  // that is damaged since aborts the process.
  std::vector<etcdserverpb::Member> Members() const;

 private:
  KvStore(Engine* engine, const KvStoreOptions& options, const AppliedRecord& applied);

  StatusOr<std::vector<etcdserverpb::Member>> ReadMembers() const;
  void Write(rocksdb::WriteBatch* batch);
  void Publish(const AppliedRecord& applied);

  Engine* const engine_;

  // The apply thread's own.
  AppliedRecord current_;
  SessionTable sessions_;
  Compactor compactor_;

  // What readers go by; the order of things is in take_view.h.
  std::atomic<int64_t> revision_;
  std::atomic<int64_t> compact_revision_;
  mutable std::mutex mutex_;
  AppliedRecord published_;  // guarded by mutex_
};

}  // namespace raftkv::store
