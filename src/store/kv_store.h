// The applied state: a multi-version key-value store with etcd's semantics on RocksDB's kv column
// family. No index of keys is kept in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "common/status.h"
#include "common/types.h"
#include "rpc.pb.h"
#include "store/applied_record.h"
#include "store/command.h"
#include "store/engine.h"

namespace raftkv::store {

// The answer to one command. `response` has its header's revision set and nothing else of the
// header: the edge fills in ids and term.
struct ApplyResult {
  Status status;
  std::variant<std::monostate, etcdserverpb::PutResponse, etcdserverpb::DeleteRangeResponse,
               etcdserverpb::TxnResponse, etcdserverpb::CompactionResponse>
      response;
  bool from_session = false;  // the write had been applied before; this is its first answer
};

struct KvStoreOptions {
  uint64_t sessions_max = 10'000;
  uint64_t session_ttl_ms = 60 * 60 * 1000;
};

// Reads are thread-safe and may run beside Apply; Apply and CompactStep belong to the apply thread.
class KvStore {
 public:
  // Reads the applied record and checks it. kCorruption when it is damaged or of a newer format.
  static StatusOr<std::unique_ptr<KvStore>> Open(Engine* engine, const KvStoreOptions& options);
  ~KvStore();

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

  // Removes up to `versions_max` old versions that the compact revision made unreachable. True
  // while more remain. Deletes versions below, never the one a read at the compact revision needs.
  bool CompactStep(size_t versions_max);

  // A read at one consistent revision. Errors: ErrCompacted, ErrFutureRevision.
  StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request) const;
  // A transaction for which IsReadOnly holds.
  StatusOr<etcdserverpb::TxnResponse> ReadOnlyTxn(const etcdserverpb::TxnRequest& request) const;

  // Published member attributes (name, client URLs), by node id.
  std::vector<etcdserverpb::Member> Members() const;

 private:
  KvStore();
  // To be filled in by the implementation.
};

}  // namespace raftkv::store
