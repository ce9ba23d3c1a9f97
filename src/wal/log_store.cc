#include "wal/log_store.h"

#include <array>
#include <string>
#include <utility>

#include <rocksdb/db.h>

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

}  // namespace

std::vector<std::pair<std::string, std::string>> LogStore::BootstrapRecords(
    const raft::Membership& membership) {
  return {{std::string(kHardStateKey), EncodeHardState(HardState{})},
          {std::string(kMembershipKey), EncodeMembership(membership)},
          {std::string(kLogStartKey), EncodeLogStart(LogPosition{})}};
}

StatusOr<RecoveredLog> LogStore::Recover() {
  RecoveredLog log;
  RAFTKV_ASSIGN_OR_RETURN(const std::string hard_state, ReadMeta(engine_, kHardStateKey));
  RAFTKV_ASSIGN_OR_RETURN(log.hard_state, DecodeHardState(hard_state));
  RAFTKV_ASSIGN_OR_RETURN(const std::string membership, ReadMeta(engine_, kMembershipKey));
  RAFTKV_ASSIGN_OR_RETURN(log.membership, DecodeMembership(membership));
  RAFTKV_ASSIGN_OR_RETURN(const std::string log_start, ReadMeta(engine_, kLogStartKey));
  RAFTKV_ASSIGN_OR_RETURN(log.before_first, DecodeLogStart(log_start));
  RAFTKV_RETURN_IF_ERROR(RecoverEntries(&log));

  // The writer puts entries and hard state of one task into one batch, hard state never behind.
  const Term last_term = log.terms.empty() ? log.before_first.term : log.terms.back().term;
  if (log.hard_state.term < last_term) {
    return Refusal("the hard state is of term " + std::to_string(log.hard_state.term.value()) +
                   ", the last log entry of term " + std::to_string(last_term.value()));
  }
  if (log.hard_state.commit > log.last) {
    return Refusal("the log ends at index " + std::to_string(log.last.value()) +
                   ", but entries up to " + std::to_string(log.hard_state.commit.value()) +
                   " were committed");
  }
  recovered_ = true;
  first_ = log.first;
  last_ = log.last;
  hard_state_ = log.hard_state;
  return log;
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
    last_term = entry->term;
    log->last = *index;
    log->bytes += entry->payload.size();
  }
  return store::FromRocksDb(it->status(),
                            "reading the log after index " + std::to_string(log->last.value()));
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
    RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
        batch->Put(engine_->raft_log(), rocksdb::SliceParts(&key, 1),
                   rocksdb::SliceParts(value.data(), static_cast<int>(value.size()))),
        "adding " + Name(entry.index) + " to a batch"));
    last_ = entry.index;
  }
  if (!task.hard_state) return Status::Ok();
  RAFTKV_CHECK(hard_state_.commit <= last_, "the commit index is past the log's end");
  return store::FromRocksDb(
      batch->Put(engine_->raft_meta(), rocksdb::Slice(kHardStateKey.data(), kHardStateKey.size()),
                 EncodeHardState(hard_state_)),
      "adding the hard state to a batch");
}

// Everything from `from` on goes, whether or not it is written anew: an entry of the old tail that
// stayed behind would be taken for part of the log at the next start. Point deletes and not
// SingleDelete, which resurrected an entry that had been overwritten; conflicts are rare and short,
// so a range tombstone, which slows every later scan, is not worth it.
Status LogStore::Truncate(Index from, rocksdb::WriteBatch* batch) {
  RAFTKV_CHECK(from >= first_, "truncation reaches below the start of the log");
  for (Index index = from; index <= last_; ++index) {
    RAFTKV_RETURN_IF_ERROR(
        store::FromRocksDb(batch->Delete(engine_->raft_log(), LogKey(index)),
                           "adding the removal of " + Name(index) + " to a batch"));
  }
  if (from <= last_) last_ = from - 1;
  return Status::Ok();
}

}  // namespace raftkv::wal
