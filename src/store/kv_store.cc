#include "store/kv_store.h"

#include <string>
#include <utility>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include "common/check.h"
#include "store/batch_applier.h"
#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/mvcc_view.h"
#include "store/range_read.h"
#include "store/take_view.h"
#include "store/txn.h"
#include "store/validate.h"

namespace raftkv::store {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Whether the column family holds anything at all.
StatusOr<bool> IsEmpty(Engine* engine) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, engine->kv()));
  it->SeekToFirst();
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: look for the first key"));
  return !it->Valid();
}

// The newest revision in the index; 0 when there is none.
StatusOr<int64_t> NewestIndexed(Engine* engine) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, engine->kv()));
  it->SeekForPrev(std::string(1, kRevisionKind + 1));
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: look for the newest revision"));
  if (!it->Valid() || View(it->key()).front() != kRevisionKind) return int64_t{0};
  Revision revision;
  RAFTKV_RETURN_IF_ERROR(DecodeRevisionKey(View(it->key()), &revision));
  return revision.main;
}

// The applied record and the data are written together, so they must tell the same story. The
// newest revision's index entries outlive every compaction (see Compactor).
Status CheckAgainstData(Engine* engine, const AppliedRecord& applied) {
  RAFTKV_ASSIGN_OR_RETURN(const int64_t newest, NewestIndexed(engine));
  const int64_t expected = applied.revision == 1 ? 0 : applied.revision;
  if (newest == expected) return Status::Ok();
  return {Code::kCorruption,
          "kv: the applied record says revision " + std::to_string(applied.revision) +
              ", but the newest change in the revision index is of " + std::to_string(newest)};
}

}  // namespace

StatusOr<std::unique_ptr<KvStore>> KvStore::Open(Engine* engine, const KvStoreOptions& options) {
  std::string bytes;
  const rocksdb::Status status =
      engine->db()->Get(rocksdb::ReadOptions(), engine->kv(), AppliedKey(), &bytes);
  AppliedRecord applied;
  if (status.IsNotFound()) {
    RAFTKV_ASSIGN_OR_RETURN(const bool empty, IsEmpty(engine));
    if (!empty) {
      return Status(Code::kCorruption,
                    "kv: there is data, but no applied record to say what it stands for");
    }
  } else {
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(status, "kv: read the applied record"));
    RAFTKV_ASSIGN_OR_RETURN(applied, DecodeAppliedRecord(bytes));
    RAFTKV_RETURN_IF_ERROR(CheckAgainstData(engine, applied));
  }
  std::unique_ptr<KvStore> store(new KvStore(engine, options, applied));
  RAFTKV_RETURN_IF_ERROR(store->ReadMembers().status());
  return store;
}

KvStore::KvStore(Engine* engine, const KvStoreOptions& options, const AppliedRecord& applied)
    : engine_(engine),
      current_(applied),
      sessions_(engine->db(), engine->kv(), {options.sessions_max, options.session_ttl_ms}),
      compactor_(engine->db(), engine->kv()),
      revision_(applied.revision),
      compact_revision_(applied.compact_revision),
      published_(applied) {}

AppliedRecord KvStore::applied() const {
  std::lock_guard lock(mutex_);
  return published_;
}

int64_t KvStore::revision() const { return revision_.load(); }
int64_t KvStore::compact_revision() const { return compact_revision_.load(); }

StatusOr<AppliedRecord> KvStore::DurableApplied() const {
  const StatusOr<std::string> bytes = engine_->GetFlushedKv(AppliedKey());
  if (!bytes.ok()) {
    if (bytes.status().code() == Code::kNotFound) return AppliedRecord{};
    return bytes.status();
  }
  return DecodeAppliedRecord(*bytes);
}

void KvStore::Apply(std::span<const Entry> entries, std::vector<ApplyResult>* results) {
  results->clear();
  results->resize(entries.size());
  if (entries.empty()) return;
  BatchApplier applier(engine_, &sessions_, current_);
  for (size_t i = 0; i < entries.size(); ++i) applier.Apply(entries[i], &(*results)[i]);
  Write(applier.Finish());
  current_ = applier.applied();
  Publish(current_);
}

bool KvStore::CompactStep(size_t versions_max) {
  if (current_.compacted_to >= current_.compact_revision) return false;
  rocksdb::WriteBatch batch;
  const bool more = compactor_.Step(versions_max, &current_, &batch);
  const rocksdb::Status status =
      batch.Put(engine_->kv(), AppliedKey(), EncodeAppliedRecord(current_));
  RAFTKV_CHECK(status.ok(), status.ToString());
  Write(&batch);
  Publish(current_);
  return more;
}

void KvStore::Write(rocksdb::WriteBatch* batch) {
  rocksdb::WriteOptions options;
  // The Raft log brings back what a crash takes from the memtable, and the applied record in this
  // very batch says from where; writing it to RocksDB's log as well would double the bytes.
  options.disableWAL = true;
  const rocksdb::Status status = engine_->db()->Write(options, batch);
  // Whether any of it is readable now is unknown. The restart starts from what is flushed.
  RAFTKV_CHECK(status.ok(), "writing applied state: " + status.ToString());
}

void KvStore::Publish(const AppliedRecord& applied) {
  revision_.store(applied.revision);
  compact_revision_.store(applied.compact_revision);
  std::lock_guard lock(mutex_);
  published_ = applied;
}

StatusOr<etcdserverpb::RangeResponse> KvStore::Range(
    const etcdserverpb::RangeRequest& request) const {
  const KeyRange range = KeyRange::Of(request.key(), request.range_end());
  auto [view, bounds] = TakeView(revision_, compact_revision_, [&] {
    return range.single ? MvccView::ForKey(engine_->db(), engine_->kv())
                        : MvccView::ForRange(engine_->db(), engine_->kv(), range);
  });
  etcdserverpb::RangeResponse response;
  RAFTKV_RETURN_IF_ERROR(ReadRange(&view, bounds, request, &response));
  return response;
}

StatusOr<etcdserverpb::TxnResponse> KvStore::ReadOnlyTxn(
    const etcdserverpb::TxnRequest& request) const {
  RAFTKV_CHECK(IsReadOnly(request), "a transaction with writes was not proposed");
  auto [view, bounds] = TakeView(revision_, compact_revision_,
                                 [this] { return MvccView::ForAll(engine_->db(), engine_->kv()); });
  etcdserverpb::TxnResponse response;
  RAFTKV_RETURN_IF_ERROR(Transaction(&view, bounds).Run(request, &response));
  return response;
}

std::vector<etcdserverpb::Member> KvStore::Members() const { return ReadMembers().value(); }

StatusOr<std::vector<etcdserverpb::Member>> KvStore::ReadMembers() const {
  const std::string begin(1, kMemberKind);
  const std::string end(1, kMemberKind + 1);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(engine_->db()->NewIterator(options, engine_->kv()));
  std::vector<etcdserverpb::Member> members;
  for (it->Seek(begin); it->Valid(); it->Next()) {
    RAFTKV_ASSIGN_OR_RETURN(const std::string_view bytes,
                            DecodeMemberRecord(View(it->key()), View(it->value())));
    if (!members.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return Status(Code::kCorruption, "kv: the record under key \"" + Printable(View(it->key())) +
                                           "\" holds no member");
    }
  }
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: read the members"));
  return members;
}

}  // namespace raftkv::store
