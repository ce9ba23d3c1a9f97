#include "store/kv_store.h"

#include <string>
#include <utility>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/slice.h>
#include <rocksdb/write_batch.h>

#include "common/check.h"
#include "common/mutation.h"
#include "store/batch_applier.h"
#include "store/delete_count.h"
#include "store/kv_errors.h"
#include "store/live_hash.h"
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
StatusOr<bool> IsEmpty(Engine* engine, const FamilyHandle& kv) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, kv.get()));
  it->SeekToFirst();
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: look for the first key"));
  return !it->Valid();
}

// The newest revision in the index; 0 when there is none.
StatusOr<int64_t> NewestIndexed(Engine* engine, const FamilyHandle& kv) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, kv.get()));
  it->SeekForPrev(std::string(1, kRevisionKind + 1));
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: look for the newest revision"));
  if (!it->Valid() || View(it->key()).front() != kRevisionKind) return int64_t{0};
  Revision revision;
  RAFTKV_RETURN_IF_ERROR(DecodeRevisionKey(View(it->key()), &revision));
  return revision.main;
}

// The applied record and the data are written together, so they must tell the same story. The
// newest revision's index entries outlive every compaction (see Compactor). A restore raises the
// revision with nothing to show for it.
Status CheckAgainstData(Engine* engine, const FamilyHandle& kv, const AppliedRecord& applied) {
  RAFTKV_ASSIGN_OR_RETURN(const int64_t newest, NewestIndexed(engine, kv));
  const int64_t expected = applied.revision == 1 ? 0 : applied.revision;
  if (newest == expected) return Status::Ok();
  if (applied.revision == applied.bumped_to && newest < applied.revision) return Status::Ok();
  return {Code::kCorruption,
          "kv: the applied record says revision " + std::to_string(applied.revision) +
              ", but the newest change in the revision index is of " + std::to_string(newest)};
}

// Keeps the memory, unless that would hold on to what one large batch took.
void ClearForReuse(rocksdb::WriteBatch* batch) {
  constexpr size_t kBytesKept = 4 << 20;
  if (batch->GetDataSize() > kBytesKept) {
    *batch = rocksdb::WriteBatch();
  } else {
    batch->Clear();
  }
}

}  // namespace

StatusOr<KvStore::Contents> KvStore::ReadContents(Engine* engine, const FamilyHandle& kv) {
  std::string bytes;
  const rocksdb::Status status =
      engine->db()->Get(rocksdb::ReadOptions(), kv.get(), AppliedKey(), &bytes);
  Contents contents;
  if (status.IsNotFound()) {
    RAFTKV_ASSIGN_OR_RETURN(const bool empty, IsEmpty(engine, kv));
    if (!empty) {
      return Status(Code::kCorruption,
                    "kv: there is data, but no applied record to say what it stands for");
    }
  } else {
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(status, "kv: read the applied record"));
    RAFTKV_ASSIGN_OR_RETURN(contents.applied, DecodeAppliedRecord(bytes));
    RAFTKV_RETURN_IF_ERROR(CheckAgainstData(engine, kv, contents.applied));
  }
  RAFTKV_ASSIGN_OR_RETURN(contents.cluster, ReadClusterState(engine->db(), kv));
  RAFTKV_RETURN_IF_ERROR(ReadMembers(engine, kv).status());
  return contents;
}

StatusOr<std::unique_ptr<KvStore>> KvStore::Open(Engine* engine) {
  FamilyHandle kv = engine->kv();
  RAFTKV_ASSIGN_OR_RETURN(Contents contents, ReadContents(engine, kv));
  return std::unique_ptr<KvStore>(new KvStore(engine, std::move(kv), std::move(contents)));
}

KvStore::KvStore(Engine* engine, FamilyHandle kv, Contents contents) : engine_(engine) {
  Install(std::move(kv), std::move(contents));
}

void KvStore::Install(FamilyHandle kv, Contents contents) {
  current_ = contents.applied;
  cluster_ = std::move(contents.cluster);
  sessions_.emplace(engine_->db(), kv);
  compactor_.emplace(engine_->db(), kv);
  newest_ = std::make_shared<NewestVersions>(engine_->newest_versions_bytes());
  auto served = std::make_shared<Served>(std::move(kv), newest_, current_);
  std::lock_guard lock(mutex_);
  served_ = std::move(served);
  published_ = current_;
  published_cluster_ = cluster_;
}

void KvStore::SwitchTo(uint64_t staged_id) {
  Status status = engine_->AdoptStagedKv(staged_id);
  RAFTKV_CHECK(status.ok(), "switching to a snapshot: " + status.ToString());
  FamilyHandle kv = engine_->kv();
  StatusOr<Contents> contents = ReadContents(engine_, kv);
  RAFTKV_CHECK(contents.ok(), "the state of a snapshot: " + contents.status().ToString());
  RAFTKV_CHECK(contents->applied.position.index > current_.position.index,
               "a snapshot of index " + std::to_string(contents->applied.position.index.value()) +
                   " is not ahead of the applied index " +
                   std::to_string(current_.position.index.value()));
  Install(std::move(kv), std::move(contents).value());
}

AppliedRecord KvStore::applied() const {
  std::lock_guard lock(mutex_);
  return published_;
}

std::shared_ptr<KvStore::Served> KvStore::Serve() const {
  std::lock_guard lock(mutex_);
  return served_;
}

int64_t KvStore::revision() const { return Serve()->revision.load(); }
int64_t KvStore::compact_revision() const { return Serve()->compact_revision.load(); }

StatusOr<AppliedRecord> KvStore::DurableApplied() const {
  if (Mutated(Mutation::kCutBeyondDurable)) return applied();
  const StatusOr<std::string> bytes = engine_->GetFlushedKv(AppliedKey());
  if (!bytes.ok()) {
    if (bytes.status().code() == Code::kNotFound) return AppliedRecord{};
    return bytes.status();
  }
  return DecodeAppliedRecord(*bytes);
}

size_t KvStore::ApplySome(std::span<const Entry> entries, size_t first,
                          const std::vector<bool>& awaited, std::vector<ApplyResult>* results) {
  StopCountingOnThisThread();
  BatchApplier applier(engine_, &*sessions_, &cluster_, newest_.get(), current_, &batch_);
  size_t next = first;
  do {
    applier.Apply(entries[next], awaited[next], &(*results)[next]);
  } while (++next < entries.size() && !applier.full());
  applier.Finish();
  Write(&batch_);
  ClearForReuse(&batch_);
  if (Mutated(Mutation::kAppliedApart) && entries[next - 1].index.value() % 2 == 0) {
    rocksdb::WriteBatch apart;
    (void)apart.Put(engine_->kv().get(), AppliedKey(), EncodeAppliedRecord(applier.applied()));
    Write(&apart);
  }
  current_ = applier.applied();
  Publish(current_, applier.cluster_changed());
  return next;
}

void KvStore::Apply(std::span<const Entry> entries, const std::vector<bool>& awaited,
                    std::vector<ApplyResult>* results) {
  results->clear();
  results->resize(entries.size());
  for (size_t next = 0; next < entries.size();) next = ApplySome(entries, next, awaited, results);
}

void KvStore::Apply(std::span<const Entry> entries, std::vector<ApplyResult>* results) {
  Apply(entries, std::vector<bool>(entries.size(), true), results);
}

bool KvStore::CompactStep(size_t versions_max) {
  if (current_.compacted_to >= current_.compact_revision) return false;
  rocksdb::WriteBatch batch;
  const bool more = compactor_->Step(versions_max, &current_, &batch);
  const rocksdb::Status status =
      batch.Put(engine_->kv().get(), AppliedKey(), EncodeAppliedRecord(current_));
  RAFTKV_CHECK(status.ok(), status.ToString());
  Write(&batch);
  Publish(current_, /*cluster_changed=*/false);
  return more;
}

void KvStore::Write(rocksdb::WriteBatch* batch) {
  rocksdb::WriteOptions options;
  // The Raft log brings back what a crash takes from the memtable, and the applied record in this
  // very batch says from where; writing it to RocksDB's log as well would double the bytes.
  options.disableWAL = true;
  const rocksdb::Status status = engine_->db()->Write(options, batch);
  // Whether any of it is readable now is unknown. The restart starts from what is flushed.
  RAFTKV_CHECK(status.ok(), "writing applied state: " + status.ToString() +
                                "; nothing acknowledged is lost, once the cause is gone (a full "
                                "disk: make room) start the node again");
}

void KvStore::Publish(const AppliedRecord& applied, bool cluster_changed) {
  std::lock_guard lock(mutex_);
  if (cluster_changed) published_cluster_ = cluster_;
  served_->revision.store(applied.revision);
  served_->compact_revision.store(applied.compact_revision);
  published_ = applied;
}

std::pair<MvccView, ReadBounds> KvStore::Take(
    const std::function<MvccView(const FamilyHandle&)>& make) const {
  const std::shared_ptr<Served> served = Serve();
  StopCountingOnThisThread();
  return TakeView(served->revision, served->compact_revision, [&] { return make(served->kv); });
}

StatusOr<etcdserverpb::RangeResponse> KvStore::Range(const etcdserverpb::RangeRequest& request,
                                                     size_t answer_bytes_max) const {
  const KeyRange range = KeyRange::Of(request.key(), request.range_end());
  auto [view, bounds] = Take([&](const FamilyHandle& kv) {
    return range.single ? MvccView::ForKey(engine_->db(), kv)
                        : MvccView::ForRange(engine_->db(), kv, range);
  });
  etcdserverpb::RangeResponse response;
  AnswerRoom room = AnswerRoom::ForRead(answer_bytes_max);
  RAFTKV_RETURN_IF_ERROR(ReadRange(&view, bounds, request, &room, &response));
  if (room.given_up()) return ErrReadTooLarge(answer_bytes_max);
  return response;
}

// A get of a key's newest version, where the apply thread remembers which that is: one record is
// looked up, and no iterator made that searches every level. False where that is no answer, for
// whatever reason: the search then says which.
//
// The revision is read first: whatever was written up to it had been stored by then, so that what
// is remembered is the newest version at that revision, unless it is newer still.
bool KvStore::GetRemembered(const etcdserverpb::RangeRequest& request,
                            etcdserverpb::RangeResponse* response) const {
  if (request.revision() > 0) return false;
  const std::shared_ptr<Served> served = Serve();
  const ReadBounds bounds{.revision = served->revision.load()};
  Revision mod;
  bool tombstone = false;
  if (!served->newest->FindRevision(request.key(), &mod, &tombstone)) return false;
  if (mod.main > bounds.revision) return false;
  if (tombstone) {
    AnswerOneKey(nullptr, bounds, request, response);
    return true;
  }
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  const std::string data_key = DataKey(request.key(), mod);
  rocksdb::PinnableSlice bytes;
  const rocksdb::Status status = engine_->db()->Get(options, served->kv.get(), data_key, &bytes);
  // RocksDB says OK and gives nothing when the table that may have it is not open.
  if (!status.ok() || bytes.empty()) return false;
  DataRecord record;
  if (!DecodeDataRecord(data_key, View(bytes), &record).ok()) return false;
  const KeyVersion version{.key = request.key(),
                           .mod = mod,
                           .create_revision = record.create_revision,
                           .version = record.version,
                           .lease = record.lease,
                           .value = record.value};
  AnswerOneKey(&version, bounds, request, response);
  return true;
}

std::optional<StatusOr<etcdserverpb::RangeResponse>> KvStore::GetInMemory(
    const etcdserverpb::RangeRequest& request) const {
  RAFTKV_CHECK(request.range_end().empty(), "a range may take long");
  StopCountingOnThisThread();
  etcdserverpb::RangeResponse response;
  if (GetRemembered(request, &response)) return response;
  auto [view, bounds] =
      Take([this](const FamilyHandle& kv) { return MvccView::ForKeyInMemory(engine_->db(), kv); });
  AnswerRoom room = AnswerRoom::ForRead();
  const Status status = ReadRange(&view, bounds, request, &room, &response);
  if (view.missed()) return std::nullopt;
  if (!status.ok()) return status;
  return response;
}

StatusOr<etcdserverpb::TxnResponse> KvStore::ReadOnlyTxn(const etcdserverpb::TxnRequest& request,
                                                         size_t answer_bytes_max) const {
  RAFTKV_CHECK(IsReadOnly(request), "a transaction with writes was not proposed");
  auto [view, bounds] =
      Take([this](const FamilyHandle& kv) { return MvccView::ForAll(engine_->db(), kv); });
  etcdserverpb::TxnResponse response;
  Transaction transaction(&view, bounds, AnswerRoom::ForRead(answer_bytes_max));
  RAFTKV_RETURN_IF_ERROR(transaction.Run(request, &response));
  if (transaction.room().given_up()) return ErrReadTooLarge(answer_bytes_max);
  return response;
}

template <typename Request>
Status KvStore::CheckDeletes(const Request& request) const {
  auto [view, bounds] =
      Take([this](const FamilyHandle& kv) { return MvccView::ForAll(engine_->db(), kv); });
  return store::CheckDeletes(&view, bounds.revision, request);
}

template Status KvStore::CheckDeletes(const etcdserverpb::DeleteRangeRequest&) const;
template Status KvStore::CheckDeletes(const etcdserverpb::TxnRequest&) const;

std::optional<Membership> KvStore::Configuration() const {
  std::lock_guard lock(mutex_);
  return published_cluster_.configuration;
}

std::vector<etcdserverpb::AlarmMember> KvStore::Alarms() const {
  std::vector<etcdserverpb::AlarmMember> alarms;
  std::lock_guard lock(mutex_);
  for (const Alarm& alarm : published_cluster_.alarms) {
    etcdserverpb::AlarmMember& member = alarms.emplace_back();
    member.set_memberid(alarm.member.value());
    member.set_alarm(static_cast<etcdserverpb::AlarmType>(alarm.type));
  }
  return alarms;
}

StatusOr<KvStore::Hash> KvStore::HashAt(int64_t revision, const std::function<bool()>& stop) const {
  auto [view, bounds] =
      Take([this](const FamilyHandle& kv) { return MvccView::ForBulk(engine_->db(), kv); });
  RAFTKV_RETURN_IF_ERROR(CheckReadRevision(revision, bounds));
  Hash hash;
  hash.revision = revision > 0 ? revision : bounds.revision;
  hash.compact_revision = bounds.compact_revision;
  RAFTKV_ASSIGN_OR_RETURN(hash.hash, HashLiveKeys(&view, hash.revision, stop));
  return hash;
}

std::vector<etcdserverpb::Member> KvStore::Members() const {
  return ReadMembers(engine_, Serve()->kv).value();
}

StatusOr<std::vector<etcdserverpb::Member>> KvStore::ReadMembers(Engine* engine,
                                                                 const FamilyHandle& kv) {
  const std::string begin(1, kMemberKind);
  const std::string end(1, kMemberKind + 1);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, kv.get()));
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
