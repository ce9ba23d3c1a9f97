// The applied state: a multi-version key-value store with etcd's semantics on RocksDB's kv column
// family. No index of keys is kept in memory, only what the keys written last are at
// (newest_versions.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "rpc.pb.h"
#include "store/answer_room.h"
#include "store/applied_record.h"
#include "store/apply_result.h"
#include "store/cluster_state.h"
#include "store/compactor.h"
#include "store/engine.h"
#include "store/mvcc_view.h"
#include "store/newest_versions.h"
#include "store/range_read.h"
#include "store/session_table.h"

namespace raftkv::store {

// Reads are thread-safe and may run beside Apply; Apply and CompactStep belong to the apply thread.
class KvStore {
 public:
  // Reads the applied record and checks it, also against the newest revision in the index.
  // kCorruption when it is damaged or of a newer format.
  static StatusOr<std::unique_ptr<KvStore>> Open(Engine* engine);

  // As of the last Apply that returned. Any thread.
  AppliedRecord applied() const;
  int64_t revision() const;
  int64_t compact_revision() const;
  // The applied record on disk: what a crash now would leave (DESIGN fact 2).
  StatusOr<AppliedRecord> DurableApplied() const;

  // Applies entries in order, from the one at position `first` on, in one RocksDB batch without
  // WAL, together with the applied record. Returns the position behind the last it applied: not all
  // when they take much memory. Their `results` (one per entry, empty before; monostate for no-ops)
  // are at the same positions. Requests that fail (compacted, key not found...) are results; an
  // entry that can't be decoded or a RocksDB error aborts the process: going on would let this
  // replica diverge.
  //
  // `awaited` says by position whose answer somebody waits for. The response to others may lack
  // what was read for it: nobody pays for that on a follower or in a replay.
  size_t ApplySome(std::span<const Entry> entries, size_t first, const std::vector<bool>& awaited,
                   std::vector<ApplyResult>* results);
  // All of them.
  void Apply(std::span<const Entry> entries, const std::vector<bool>& awaited,
             std::vector<ApplyResult>* results);
  // All of them, with every answer.
  void Apply(std::span<const Entry> entries, std::vector<ApplyResult>* results);

  // Removes old versions that the compact revision made unreachable, looking at up to
  // `versions_max` changes of the revision index. True while more remain. Deletes versions below,
  // never the one a read at the compact revision needs.
  bool CompactStep(size_t versions_max);

  // The state is that of the staged family `id` from now on (Engine::AdoptStagedKv), whose applied
  // record is ahead of ours. Readers under way finish on the old one. Aborts on damage: the
  // snapshot was verified before. The apply thread's.
  void SwitchTo(uint64_t staged_id);

  // The configuration as of the applied position: that of the last configuration entry applied,
  // none before the first.
  std::optional<Membership> Configuration() const;
  // Alarms that are raised.
  std::vector<etcdserverpb::AlarmMember> Alarms() const;

  // A hash of the logical state at `revision` (0: the current one): every live key with its value,
  // lease, version and revisions, in order; equal on all nodes, whatever each has compacted or
  // flushed. Reads everything. Errors as for a read at that revision. `stop` is asked now and then,
  // and ends it with kCancelled.
  struct Hash {
    uint32_t hash = 0;
    int64_t revision = 0;
    int64_t compact_revision = 0;
  };
  StatusOr<Hash> HashAt(int64_t revision, const std::function<bool()>& stop) const;

  // A read at one consistent revision. Errors: ErrCompacted, ErrFutureRevision; ErrReadTooLarge for
  // what would take more memory than `answer_bytes_max`; kCorruption, with the key, for a record
  // that fails its checksum.
  StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request,
                                              size_t answer_bytes_max = kReadAnswerBytesMax) const;
  // The same for one key (no range_end), by a thread that must not wait: what would have to be read
  // from the disk, or takes long for another reason, has no answer here.
  std::optional<StatusOr<etcdserverpb::RangeResponse>> GetInMemory(
      const etcdserverpb::RangeRequest& request) const;
  // A transaction for which IsReadOnly holds; as a whole no larger than Range.
  StatusOr<etcdserverpb::TxnResponse> ReadOnlyTxn(
      const etcdserverpb::TxnRequest& request, size_t answer_bytes_max = kReadAnswerBytesMax) const;

  // Whether one write may delete what `request`, a DeleteRangeRequest or a TxnRequest, would delete
  // now (delete_count.h). Reads that, up to the bound.
  template <typename Request>
  Status CheckDeletes(const Request& request) const;

  // Published member attributes (name, client URLs), by node id. Open has read them all; a record
  // that is damaged since aborts the process.
  std::vector<etcdserverpb::Member> Members() const;

 private:
  // A column family and what readers of it go by (take_view.h says in which order). They are one
  // object, so that nobody can read one family with the bounds of another.
  struct Served {
    Served(FamilyHandle family, std::shared_ptr<const NewestVersions> written,
           const AppliedRecord& applied)
        : kv(std::move(family)),
          newest(std::move(written)),
          revision(applied.revision),
          compact_revision(applied.compact_revision) {}

    const FamilyHandle kv;
    const std::shared_ptr<const NewestVersions> newest;  // of this family
    std::atomic<int64_t> revision;
    std::atomic<int64_t> compact_revision;
  };

  // What a family holds besides the data.
  struct Contents {
    AppliedRecord applied;
    ClusterState cluster;
  };

  KvStore(Engine* engine, FamilyHandle kv, Contents contents);

  static StatusOr<Contents> ReadContents(Engine* engine, const FamilyHandle& kv);
  static StatusOr<std::vector<etcdserverpb::Member>> ReadMembers(Engine* engine,
                                                                 const FamilyHandle& kv);
  std::shared_ptr<Served> Serve() const;
  std::pair<MvccView, ReadBounds> Take(
      const std::function<MvccView(const FamilyHandle&)>& make) const;
  bool GetRemembered(const etcdserverpb::RangeRequest& request,
                     etcdserverpb::RangeResponse* response) const;
  void Write(rocksdb::WriteBatch* batch);
  void Publish(const AppliedRecord& applied, bool cluster_changed);
  void Install(FamilyHandle kv, Contents contents);

  Engine* const engine_;

  // The apply thread's own. The last three belong to one family, and start afresh with another.
  AppliedRecord current_;
  rocksdb::WriteBatch batch_;  // scratch: what one batch needed, the next need not ask for
  ClusterState cluster_;
  std::optional<SessionTable> sessions_;
  std::optional<Compactor> compactor_;
  std::shared_ptr<NewestVersions> newest_;

  // What readers go by: all guarded by mutex_, and changed together by a switch.
  mutable std::mutex mutex_;
  std::shared_ptr<Served> served_;
  AppliedRecord published_;
  ClusterState published_cluster_;
};

}  // namespace raftkv::store
