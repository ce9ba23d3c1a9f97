#include "tools/dump/salvage_log.h"

#include <algorithm>
#include <memory>
#include <optional>

#include <rocksdb/iterator.h>

#include "store/engine.h"
#include "store/engine_options.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
std::string Text(Index index) { return std::to_string(index.value()); }

// The indexes that a table may have had newer entries for.
std::pair<Index, Index> IndexesOf(const SstFile& table) {
  return {wal::ParseLogKey(table.smallest).value_or(Index(1)),
          wal::ParseLogKey(table.largest).value_or(Index(UINT64_MAX))};
}

}  // namespace

SalvagedLog::SalvagedLog(const SalvagedDatabase& database, const TableList& tables)
    : db_(database.db()), family_(database.family(store::kRaftLogFamily)) {
  for (const SstFile& table : tables.files) {
    if (table.status.ok() || !tables.Counts(table)) continue;
    // A damaged table of which nobody knows what is in it may be one of the log.
    if (!table.family.empty() && table.family != store::kRaftLogFamily) continue;
    lost_.push_back(IndexesOf(table));
  }
  std::string record;
  const auto get = [&](std::string_view key) {
    return db_
        ->Get(rocksdb::ReadOptions(), database.family(store::kRaftMetaFamily), std::string(key),
              &record)
        .ok();
  };
  if (get(wal::kHardStateKey)) {
    const StatusOr<HardState> hard_state = wal::DecodeHardState(record);
    if (hard_state.ok()) commit_ = hard_state->commit;
  }
  if (get(wal::kLogStartKey)) {
    const StatusOr<LogPosition> start = wal::DecodeLogStart(record);
    if (start.ok()) before_first_ = *start;
    knows_start_ = start.ok();
  }
}

LogPosition SalvagedLog::end() const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions(), family_));
  for (it->SeekToLast(); it->Valid(); it->Prev()) {
    const std::optional<Index> index = wal::ParseLogKey(View(it->key()));
    if (!index) continue;
    const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(*index, View(it->value()));
    return {*index, entry.ok() ? entry->term : Term(UINT64_MAX)};
  }
  return {};
}

bool SalvagedLog::MayBeInLostTable(Index index) const {
  return std::any_of(lost_.begin(), lost_.end(), [index](const auto& range) {
    return range.first <= index && index <= range.second;
  });
}

// Why the log does not go on where the state ends; empty: it does.
std::string SalvagedLog::CheckJoin(const LogPosition& after) const {
  if (after.index < before_first_.index) {
    return "the state ends at index " + Text(after.index) + ", the log begins at " +
           Text(before_first_.index + 1);
  }
  std::string record;
  if (after.index.none() ||
      !db_->Get(rocksdb::ReadOptions(), family_, wal::LogKey(after.index), &record).ok()) {
    return "";
  }
  const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(after.index, record);
  if (!entry.ok() || entry->term == after.term) return "";
  return "log and state disagree on the term of index " + Text(after.index);
}

Status SalvagedLog::Prove(const LogPosition& after) {
  stopped_by_ = CheckJoin(after);
  last_ = after.index;
  unproven_ = 0;
  unproven_last_ = Index();
  Term term = after.term;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions(), family_));
  for (it->Seek(wal::LogKey(after.index + 1)); it->Valid(); it->Next()) {
    const std::optional<Index> index = wal::ParseLogKey(View(it->key()));
    if (!index) continue;
    const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(*index, View(it->value()));
    if (stopped_by_.empty()) {
      if (*index != last_ + 1) {
        stopped_by_ = "log entries " + Text(last_ + 1) + " to " + Text(*index - 1) + " are missing";
      } else if (!entry.ok()) {
        stopped_by_ = entry.status().message();
      } else if (MayBeInLostTable(*index)) {
        stopped_by_ =
            "a newer log entry " + Text(*index) + " may have been in a table that is lost";
      } else if (entry->term < term) {
        stopped_by_ = "log entry " + Text(*index) + " is of an older term than the one before";
      }
    }
    if (stopped_by_.empty()) {
      last_ = *index;
      term = entry->term;
    } else if (entry.ok()) {
      ++unproven_;
      unproven_last_ = *index;
    }
  }
  return store::FromRocksDb(it->status(), "reading the log");
}

Status SalvagedLog::Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions(), family_));
  uint64_t bytes = 0;
  Index next = from;
  for (it->Seek(wal::LogKey(from)); it->Valid() && next <= to; it->Next(), ++next) {
    RAFTKV_ASSIGN_OR_RETURN(Entry entry, wal::DecodeEntry(next, View(it->value())));
    bytes += EntryBytes(entry);
    if (next > from && bytes > bytes_max) return Status::Ok();
    out->push_back(std::move(entry));
  }
  return store::FromRocksDb(it->status(), "reading the log");
}

}  // namespace raftkv::tools::dump
