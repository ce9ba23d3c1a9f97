#include "tools/dump/verify_tables.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include <rocksdb/iterator.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table_properties.h>

#include "store/engine_options.h"
#include "store/mvcc.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/dump/sst_files.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

constexpr char kTables[] = "tables";

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// What a table that is not in use knows and the database does not; empty if nothing.
class Witness {
 public:
  Witness(store::Engine* engine, const LogMeta& meta, Index last)
      : kv_(engine->kv()->GetName()), last_(last) {
    if (meta.hard_state.ok()) hard_state_ = *meta.hard_state;
  }

  StatusOr<std::string> Ask(const std::string& path) const {
    rocksdb::SstFileReader reader(store::StagedTableOptions());
    RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(reader.Open(path), "opening the table"));
    rocksdb::ReadOptions read;
    read.total_order_seek = true;
    const std::unique_ptr<rocksdb::Iterator> it(reader.NewIterator(read));
    const std::string family = reader.GetTableProperties()->column_family_name;
    std::string knows;
    if (family == store::kRaftLogFamily) knows = OfLog(it.get());
    if (family == store::kRaftMetaFamily) knows = OfMeta(it.get());
    if (family == kv_) knows = OfState(it.get());
    RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(it->status(), "reading the table"));
    return knows;
  }

 private:
  // Entries beyond the log's end may have been given up, but only for a later term.
  std::string OfLog(rocksdb::Iterator* it) const {
    it->SeekToLast();
    if (!it->Valid()) return "";
    const std::optional<Index> index = wal::ParseLogKey(View(it->key()));
    if (!index || *index <= last_) return "";
    const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(*index, View(it->value()));
    if (!entry.ok() || entry->term < hard_state_.term) return "";
    return "it holds log entries up to index " + std::to_string(index->value()) +
           ", but the log ends at " + std::to_string(last_.value());
  }

  std::string OfMeta(rocksdb::Iterator* it) const {
    it->Seek(rocksdb::Slice(wal::kHardStateKey.data(), wal::kHardStateKey.size()));
    if (!it->Valid() || View(it->key()) != wal::kHardStateKey) return "";
    const StatusOr<HardState> state = wal::DecodeHardState(View(it->value()));
    if (!state.ok()) return "";
    if (state->term <= hard_state_.term && state->commit <= hard_state_.commit) return "";
    return "it holds a hard state of term " + std::to_string(state->term.value()) +
           ", committed up to " + std::to_string(state->commit.value()) +
           ", and the one in use is of term " + std::to_string(hard_state_.term.value()) +
           ", committed up to " + std::to_string(hard_state_.commit.value());
  }

  std::string OfState(rocksdb::Iterator* it) const {
    it->Seek(store::AppliedKey());
    if (!it->Valid() || View(it->key()) != store::AppliedKey()) return "";
    const StatusOr<store::AppliedRecord> applied = store::DecodeAppliedRecord(View(it->value()));
    if (!applied.ok() || applied->position.index <= last_) return "";
    return "it holds state that was applied up to index " +
           std::to_string(applied->position.index.value()) + ", but the log ends at " +
           std::to_string(last_.value());
  }

  const std::string kv_;
  const Index last_;
  HardState hard_state_;
};

}  // namespace

Status VerifyTables(const std::string& db_path, Report* report, Findings* findings) {
  RAFTKV_ASSIGN_OR_RETURN(SstListing listing, ListSstFiles(db_path));
  uint64_t tables = 0;
  Progress progress(report, "reading the tables", "tables", listing.files.size());
  for (SstFile& file : listing.files) {
    progress.Add();
    if (listing.listed && !file.level) continue;  // not in use
    ++tables;
    ExamineSstFile({.verify = true}, &file);
    if (file.status.ok()) continue;
    findings->Problem(
        {kTables,
         {.file = "db/" + file.name, .family = file.family},
         file.status.message(),
         "some of the records in this table can't be read" +
             (file.largest.empty() ? std::string()
                                   : "; it holds keys from \"" + store::Printable(file.smallest) +
                                         "\" to \"" + store::Printable(file.largest) + "\""),
         kReplaceAdvice});
  }
  findings->Done(kTables, std::to_string(tables) + " tables, every block");
  return Status::Ok();
}

void VerifyUnusedTables(store::Engine* engine, const std::string& db_path, Findings* findings) {
  const LogMeta meta = ReadLogMeta(engine);
  const StatusOr<LogBounds> bounds = ReadLogBounds(engine, meta);
  if (!bounds.ok()) return;  // has been reported
  const Witness witness(engine, meta, bounds->last);
  std::vector<rocksdb::LiveFileMetaData> tables;
  engine->db()->GetLiveFilesMetaData(&tables);
  std::set<std::string> in_use;
  for (const rocksdb::LiveFileMetaData& table : tables) in_use.insert(table.relative_filename);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(db_path, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".sst") || in_use.contains(name)) continue;
    const Place place{.file = "db/" + name};
    const StatusOr<std::string> knows = witness.Ask(entry.path());
    if (!knows.ok() || knows->empty()) {
      findings->Note({kTables,
                      place,
                      "the table is not in use" +
                          (knows.ok() ? "" : " and can't be read: " + knows.status().message()),
                      "a crash left it, and a start deletes it",
                      {}});
      continue;
    }
    findings->Problem({kTables, place, "the table is not in use, but " + *knows,
                       "the MANIFEST or the WAL lost its end, and acknowledged writes with it; a "
                       "start does not notice, and deletes this table",
                       std::string("do not start a node on it; ") + kReplaceAdvice});
  }
}

}  // namespace raftkv::tools::dump
