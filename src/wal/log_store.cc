#include "wal/log_store.h"

#include <array>
#include <string>
#include <utility>

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>

#include "common/membership_codec.h"
#include "common/mutation.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::wal {
namespace {

const char kAdvice[] =
    ". This node does not start, because it may have lost writes it acknowledged: restore the "
    "directory from a backup, or remove it and let the node join anew";

std::string Name(Index index) { return "log entry " + std::to_string(index.value()); }

Status Refusal(const std::string& what) { return Status(Code::kCorruption, what + kAdvice); }

// A record of raft_meta that Bootstrap wrote, so that it is always there.
StatusOr<std::string> ReadMeta(store::Engine* engine, std::string_view key) {
  std::string record;
  const rocksdb::Status status = engine->db()->Get(rocksdb::ReadOptions(), engine->raft_meta(),
                                                   rocksdb::Slice(key.data(), key.size()), &record);
  if (status.IsNotFound()) {
    return Refusal("the record " + std::string(key) + " is missing from raft_meta");
  }
  if (!status.ok()) return store::FromRocksDb(status, "reading " + std::string(key));
  return record;
}

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
rocksdb::Slice AsSlice(std::string_view view) { return {view.data(), view.size()}; }

}  // namespace

LogPosition EndOf(const RecoveredLog& log) {
  return {log.last, log.terms.empty() ? log.before_first.term : log.terms.back().term};
}

raft::PersistentState StartingState(const RecoveredLog& log, const LogPosition& applied) {
  raft::PersistentState state;
  state.hard_state = log.hard_state;
  state.membership = log.membership;
  state.configs = log.configs;
  state.first = log.first;
  state.last = log.last;
  state.before_first = log.before_first;
  state.terms = log.terms;
  state.applied = applied;
  return state;
}

std::vector<std::pair<std::string, std::string>> LogStore::BootstrapRecords(
    const Membership& membership, const LogPosition& start, const HardState& hard_state) {
  RAFTKV_CHECK(hard_state.term >= start.term, "the log starts in a later term than the node's");
  RAFTKV_CHECK(hard_state.commit <= start.index, "the commit index is past the log's end");
  return {{std::string(kHardStateKey), EncodeHardState(hard_state)},
          {std::string(kMembershipKey), EncodeMembershipRecord(membership)},
          {std::string(kLogStartKey), EncodeLogStart(start)}};
}

StatusOr<RecoveredLog> LogStore::Recover() {
  RecoveredLog log;
  RAFTKV_ASSIGN_OR_RETURN(const std::string hard_state, ReadMeta(engine_, kHardStateKey));
  RAFTKV_ASSIGN_OR_RETURN(log.hard_state, DecodeHardState(hard_state));
  RAFTKV_ASSIGN_OR_RETURN(log.membership, BaseMembership());
  RAFTKV_ASSIGN_OR_RETURN(const std::string log_start, ReadMeta(engine_, kLogStartKey));
  RAFTKV_ASSIGN_OR_RETURN(log.before_first, DecodeLogStart(log_start));
  RAFTKV_RETURN_IF_ERROR(RecoverEntries(&log));

  // The writer puts entries and hard state of one task into one batch, hard state never behind.
  const Term last_term = EndOf(log).term;
  if (log.hard_state.term < last_term) {
    return Refusal("the hard state is of term " + std::to_string(log.hard_state.term.value()) +
                   ", the last log entry of term " + std::to_string(last_term.value()));
  }
  if (log.hard_state.commit > log.last) {
    return Refusal("the log ends at index " + std::to_string(log.last.value()) +
                   ", but entries up to " + std::to_string(log.hard_state.commit.value()) +
                   " were committed");
  }
  RAFTKV_ASSIGN_OR_RETURN(deleted_to_, FindLeftovers(log.first));
  has_whole_tables_ = log.first > Index(1);
  recovered_ = true;
  first_ = log.first;
  last_ = log.last;
  hard_state_ = log.hard_state;
  return log;
}

StatusOr<Membership> LogStore::BaseMembership() const {
  RAFTKV_ASSIGN_OR_RETURN(const std::string record, ReadMeta(engine_, kMembershipKey));
  return DecodeMembershipRecord(record);
}

// One pass, nothing kept but the runs of terms. Starting at the durable first index: what lies
// below was cut off, and may or may not have been deleted yet.
Status LogStore::RecoverEntries(RecoveredLog* log) const {
  log->first = log->before_first.index + 1;
  log->last = log->before_first.index;
  Term last_term = log->before_first.term;
  rocksdb::ReadOptions read;
  read.verify_checksums = true;
  read.fill_cache = false;  // entries are read once here; the cache is for those who come later
  read.readahead_size = 2 << 20;
  const std::unique_ptr<rocksdb::Iterator> it(
      engine_->db()->NewIterator(read, engine_->raft_log()));
  for (it->Seek(LogKey(log->first)); it->Valid(); it->Next()) {
    const std::optional<Index> index = ParseLogKey(View(it->key()));
    if (!index) return Refusal("raft_log holds a key that is no log index");
    if (*index != log->last + 1) {
      return Refusal(Name(log->last + 1) + " is missing, the next one there is " +
                     std::to_string(index->value()));
    }
    const StatusOr<EntryView> entry = DecodeEntryView(*index, View(it->value()));
    if (!entry.ok()) {
      if (entry.status().code() != Code::kCorruption) return entry.status();
      return Refusal(entry.status().message());
    }
    if (entry->term < last_term) {
      return Refusal(Name(*index) + " is of term " + std::to_string(entry->term.value()) +
                     ", the one before of term " + std::to_string(last_term.value()));
    }
    if (log->terms.empty() || entry->term != last_term) {
      log->terms.push_back({*index, entry->term});
    }
    if (entry->kind == EntryKind::kConfig) {
      StatusOr<Membership> membership = DecodeMembership(entry->payload);
      if (membership.status().code() == Code::kFailedPrecondition) {
        return Status(Code::kFailedPrecondition,
                      Name(*index) + ": " + membership.status().message());
      }
      if (!membership.ok())
        return Refusal(Name(*index) + " holds a configuration that is malformed");
      log->configs.push_back({*index, std::move(*membership)});
    }
    last_term = entry->term;
    log->last = *index;
    log->bytes += entry->payload.size();
  }
  return store::FromRocksDb(it->status(),
                            "reading the log after index " + std::to_string(log->last.value()));
}

Status LogStore::CheckApplied(const LogPosition& applied, const RecoveredLog& log) const {
  const std::string advice =
      "; restore this node from a copy, or remove its data and let it join again as a new member";
  const std::string index = std::to_string(applied.index.value());
  if (applied.index > log.last) {
    return Status(Code::kCorruption, "the applied state is at index " + index +
                                         " but the log ends at " +
                                         std::to_string(log.last.value()) + advice);
  }
  if (applied.index + 1 < log.first) {
    return Status(Code::kCorruption, "the log begins at index " +
                                         std::to_string(log.first.value()) +
                                         " but the applied state ends at " + index + advice);
  }
  if (!applied.index.none() && applied.index >= log.first) {
    std::vector<Entry> entry;
    RAFTKV_RETURN_IF_ERROR(Read(applied.index, applied.index, 1, &entry));
    if (entry.at(0).term != applied.term) {
      return Status(
          Code::kCorruption,
          "the applied state and the log disagree on the term of index " + index + advice);
    }
  }
  return Status::Ok();
}

Status LogStore::Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const {
  if (from > to) return Status::Ok();
  const std::string end = LogKey(to + 1);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions read;
  read.verify_checksums = true;
  read.iterate_upper_bound = &upper_bound;
  const std::unique_ptr<rocksdb::Iterator> it(
      engine_->db()->NewIterator(read, engine_->raft_log()));
  uint64_t bytes = 0;
  it->Seek(LogKey(from));
  for (Index index = from; index <= to; ++index, it->Next()) {
    if (!it->Valid()) {
      RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(it->status(), "reading " + Name(index)));
      return Status(Code::kCorruption, Name(index) + " is missing from the log");
    }
    if (ParseLogKey(View(it->key())) != index) {
      return Status(Code::kCorruption, Name(index) + " is missing from the log");
    }
    RAFTKV_ASSIGN_OR_RETURN(Entry entry, DecodeEntry(index, View(it->value())));
    bytes += EntryBytes(entry);
    if (index != from && bytes > bytes_max) return Status::Ok();
    out->push_back(std::move(entry));
  }
  return Status::Ok();
}

Status LogStore::AddToBatch(const raft::AppendTask& task, rocksdb::WriteBatch* batch) {
  RAFTKV_CHECK(recovered_, "the log is written before it was recovered");
  if (task.install) RAFTKV_RETURN_IF_ERROR(Install(task, batch));
  // A snapshot that was installed since may have moved the start past it.
  if (task.cut && task.cut->before_first.index >= first_) {
    RAFTKV_CHECK(task.cut->before_first.index <= last_, "the log is cut past its end");
    RAFTKV_RETURN_IF_ERROR(MoveStart(task.cut->before_first, task.cut->membership, batch));
  }
  if (!task.truncate_from.none()) {
    RAFTKV_RETURN_IF_ERROR(Truncate(task.truncate_from, batch));
  }
  // What Recover refuses must never be written: these hold, or the core is broken.
  if (task.hard_state) {
    RAFTKV_CHECK(task.hard_state->term >= hard_state_.term, "the term went down");
    hard_state_ = *task.hard_state;
  }
  for (const Entry& entry : task.entries) {
    RAFTKV_CHECK(entry.index == last_ + 1, "log entries are not contiguous");
    RAFTKV_CHECK(entry.term <= hard_state_.term, "a log entry is of a later term than the node");
    const EntryFrame frame = FrameEntry(entry);
    const std::string_view payload = entry.bytes();
    const rocksdb::Slice key(frame.key.data(), frame.key.size());
    const std::array<rocksdb::Slice, 3> value{
        rocksdb::Slice(frame.header.data(), frame.header.size()),
        rocksdb::Slice(payload.data(), payload.size()),
        rocksdb::Slice(frame.seal.data(), frame.seal.size())};
    const rocksdb::Status added =
        batch->Put(engine_->raft_log(), rocksdb::SliceParts(&key, 1),
                   rocksdb::SliceParts(value.data(), static_cast<int>(value.size())));
    // Its name is built on failure only: this is done for every entry.
    if (!added.ok()) {
      return store::FromRocksDb(added, "adding " + Name(entry.index) + " to a batch");
    }
    last_ = entry.index;
  }
  if (!task.hard_state) return Status::Ok();
  RAFTKV_CHECK(hard_state_.commit <= last_, "the commit index is past the log's end");
  return store::FromRocksDb(
      batch->Put(engine_->raft_meta(), rocksdb::Slice(kHardStateKey.data(), kHardStateKey.size()),
                 EncodeHardState(hard_state_)),
      "adding the hard state to a batch");
}

Status LogStore::RestoreHardState(const HardState& hard_state) {
  raft::AppendTask task;
  task.hard_state = hard_state;
  rocksdb::WriteBatch batch;
  RAFTKV_RETURN_IF_ERROR(AddToBatch(task, &batch));
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(engine_->db()->Write(rocksdb::WriteOptions(), &batch),
                                            "restoring the hard state"));
  return store::FromRocksDb(engine_->db()->SyncWAL(), "syncing the hard state");
}

// Everything from `from` on goes, whether or not it is written anew: an entry of the old tail that
// stayed behind would be taken for part of the log at the next start. Point deletes and not
// SingleDelete, which resurrected an entry that had been overwritten; conflicts are rare and short,
// so a range tombstone, which slows every later scan, is not worth it.
Status LogStore::Truncate(Index from, rocksdb::WriteBatch* batch) {
  RAFTKV_CHECK(from >= first_, "truncation reaches below the start of the log");
  for (Index index = from; index <= last_; ++index) {
    if (Mutated(Mutation::kStaleTail)) break;
    RAFTKV_RETURN_IF_ERROR(
        store::FromRocksDb(batch->Delete(engine_->raft_log(), LogKey(index)),
                           "adding the removal of " + Name(index) + " to a batch"));
  }
  if (from <= last_) last_ = from - 1;
  return Status::Ok();
}

// Entries behind the snapshot go at once, in this batch: they may conflict with what follows it.
// Those before it are below the log's start from now on, and so leftovers.
Status LogStore::Install(const raft::AppendTask& task, rocksdb::WriteBatch* batch) {
  const raft::SnapshotMeta& snapshot = *task.install;
  RAFTKV_CHECK(snapshot.last.index + 1 >= first_, "a snapshot is older than the log's start");
  RAFTKV_CHECK(snapshot.last.term <= (task.hard_state ? task.hard_state->term : hard_state_.term),
               "a snapshot is of a later term than the node");
  RAFTKV_RETURN_IF_ERROR(Truncate(snapshot.last.index + 1, batch));
  last_ = snapshot.last.index;
  const auto [key, record] = store::Engine::KvFamilyRecord(snapshot.id);
  if (Mutated(Mutation::kInstallInTwo)) {
    rocksdb::WriteOptions write;
    write.sync = true;
    (void)engine_->db()->Put(write, engine_->raft_meta(), key, record);
  }
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(batch->Put(engine_->raft_meta(), key, record),
                                            "adding the applied state's place to a batch"));
  return MoveStart(snapshot.last, snapshot.membership, batch);
}

Status LogStore::MoveStart(const LogPosition& before_first, const Membership& membership,
                           rocksdb::WriteBatch* batch) {
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      batch->Put(engine_->raft_meta(), AsSlice(kLogStartKey), EncodeLogStart(before_first)),
      "adding the log's start to a batch"));
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      batch->Put(engine_->raft_meta(), AsSlice(kMembershipKey), EncodeMembershipRecord(membership)),
      "adding the membership to a batch"));
  first_ = before_first.index + 1;
  return Status::Ok();
}

// The lowest index that is in raft_log, at most `first`.
StatusOr<Index> LogStore::FindLeftovers(Index first) const {
  const std::string end = LogKey(first);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions read;
  read.iterate_upper_bound = &upper_bound;
  const std::unique_ptr<rocksdb::Iterator> it(
      engine_->db()->NewIterator(read, engine_->raft_log()));
  it->SeekToFirst();
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(it->status(), "looking for what the log was cut of"));
  if (!it->Valid()) return first;
  return ParseLogKey(View(it->key())).value_or(Index(0));
}

// One range tombstone for all that a cut took off, not a delete for each entry: that would be
// another write to the WAL and the memtable for every entry there is. The tombstone ends where the
// log begins and every scan starts there, so none ever meets it (the truncations above are in the
// log's midst, which is why they differ). A flush then leaves covered entries out of the table it
// writes; tables that are in deeper levels already, and wholly below the start, are dropped as
// files without being read. tests/wal/log_space_bench.cc prints what space that leaves in use.
Status LogStore::DeleteLeftovers() {
  RAFTKV_CHECK(recovered_, "the log is written before it was recovered");
  if (deleted_to_ >= first_) return DeleteOneWholeTable();
  rocksdb::WriteOptions write;
  write.disableWAL = false;
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      engine_->db()->DeleteRange(write, engine_->raft_log(), LogKey(deleted_to_), LogKey(first_)),
      "deleting the entries below " + Name(first_)));
  // It might be lost, since FindLeftovers finds the rest; but not in a WAL file that another is
  // written after, and RocksDB begins one whenever it flushes: cut off there, it looks like damage.
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(engine_->db()->SyncWAL(), "syncing what is deleted"));
  deleted_to_ = first_;
  has_whole_tables_ = true;
  return Status::Ok();
}

// One at a time: removing a large file takes the file system milliseconds, and writes may be
// waiting. RocksDB leaves the tables of level 0 alone here; compaction gets at those soon.
Status LogStore::DeleteOneWholeTable() {
  has_whole_tables_ = false;
  rocksdb::ColumnFamilyMetaData family;
  engine_->db()->GetColumnFamilyMetaData(engine_->raft_log(), &family);
  const std::string end = LogKey(first_);
  std::string lowest;
  for (const rocksdb::LevelMetaData& level : family.levels) {
    if (level.level == 0) continue;
    for (const rocksdb::SstFileMetaData& table : level.files) {
      // One that is being compacted goes by itself.
      if (table.being_compacted || table.largestkey >= end) continue;
      if (lowest.empty() || table.largestkey < lowest) lowest = table.largestkey;
    }
  }
  if (lowest.empty()) return Status::Ok();
  has_whole_tables_ = true;  // there may be more
  const rocksdb::Slice to(lowest);
  return store::FromRocksDb(
      rocksdb::DeleteFilesInRange(engine_->db(), engine_->raft_log(), nullptr, &to,
                                  /*include_end=*/true),
      "removing tables of entries below " + Name(first_));
}

}  // namespace raftkv::wal
