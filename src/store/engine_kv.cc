// The applied state's column family: which one it is, and putting another in its place.
#include <charconv>
#include <set>
#include <utility>

#include <rocksdb/metadata.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/utilities/checkpoint.h>
#include <spdlog/spdlog.h>

#include "store/engine.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"

namespace raftkv::store {
namespace {

constexpr std::string_view kStagedPrefix = "kv.";

// The first and the last key of each of some tables.
using TableBounds = std::multiset<std::pair<std::string, std::string>>;

StatusOr<TableBounds> BoundsOf(const std::vector<std::string>& tables,
                               const rocksdb::Options& options) {
  rocksdb::ReadOptions read;
  read.total_order_seek = true;
  TableBounds bounds;
  for (const std::string& path : tables) {
    const std::string what = "reading the table " + path;
    rocksdb::SstFileReader reader(options);
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(reader.Open(path), what));
    const std::unique_ptr<rocksdb::Iterator> it(reader.NewIterator(read));
    it->SeekToFirst();
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), what));
    if (!it->Valid()) return Status(Code::kCorruption, path + " is a table without keys");
    std::string first = it->key().ToString();
    it->SeekToLast();
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), what));
    if (!it->Valid()) return Status(Code::kCorruption, path + " is a table without keys");
    bounds.emplace(std::move(first), it->key().ToString());
  }
  return bounds;
}

TableBounds BoundsIn(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family) {
  rocksdb::ColumnFamilyMetaData metadata;
  db->GetColumnFamilyMetaData(family, &metadata);
  TableBounds bounds;
  for (const rocksdb::LevelMetaData& level : metadata.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      bounds.emplace(table.smallestkey, table.largestkey);
    }
  }
  return bounds;
}

}  // namespace

std::string KvFamilyName(uint64_t id) {
  return id == 0 ? kKvFamily : std::string(kStagedPrefix) + std::to_string(id);
}

std::optional<uint64_t> ParseKvFamilyName(std::string_view name) {
  if (name == kKvFamily) return 0;
  if (!name.starts_with(kStagedPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kStagedPrefix.size());
  uint64_t id = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), id);
  // Written the one way there is to write it.
  if (id == 0 || name != KvFamilyName(id)) return std::nullopt;
  return id;
}

FamilyHandle Engine::kv() const {
  std::lock_guard lock(kv_mutex_);
  return kv_;
}

// What raft_meta says, in which the WAL has been replayed by now: 0 for "kv".
StatusOr<uint64_t> Engine::KvFamilyOnRecord() const {
  std::string record;
  const rocksdb::Status status =
      db_->Get(rocksdb::ReadOptions(), raft_meta_, std::string(kKvFamilyKey), &record);
  if (status.IsNotFound()) return 0;
  if (!status.ok())
    return FromRocksDb(status, "reading where the applied state of " + path_ + " is");
  const StatusOr<uint64_t> id = DecodeKvFamily(record);
  if (!id.ok()) return Status(id.status().code(), path_ + ": " + id.status().message());
  return id;
}

// The family on record becomes kv_, the others are staged_.
Status Engine::ChooseKv(const std::map<uint64_t, FamilyHandle>& families) {
  RAFTKV_ASSIGN_OR_RETURN(const uint64_t id, KvFamilyOnRecord());
  std::lock_guard lock(kv_mutex_);
  staged_ = families;
  const auto chosen = staged_.find(id);
  if (chosen == staged_.end()) {
    staged_.clear();
    return Status(Code::kCorruption,
                  "the database " + path_ + " has no column family " + KvFamilyName(id) +
                      ", which is its applied state; restore it from a backup, or remove the "
                      "node's data directory and let the node join anew");
  }
  kv_ = chosen->second;
  staged_.erase(chosen);
  last_kv_id_ = id;
  return Status::Ok();
}

// What a crash left: a state that was to come and did not, or one that was replaced.
Status Engine::DropUnusedKv() {
  std::map<uint64_t, FamilyHandle> unused;
  {
    std::lock_guard lock(kv_mutex_);
    std::swap(unused, staged_);
  }
  for (const auto& [id, family] : unused) {
    spdlog::info("removing applied state that is not in use, family={}", family->GetName());
    RAFTKV_RETURN_IF_ERROR(
        FromRocksDb(db_->DropColumnFamily(family.get()), "dropping " + family->GetName()));
  }
  return Status::Ok();
}

// RocksDB links the tables into the directory, syncs them and the directory, and writes its
// manifest, synced as well, before it returns.
Status Engine::Ingest(rocksdb::ColumnFamilyHandle* family, const std::vector<std::string>& tables) {
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  // The family is not in use, so no snapshot needs to be kept from seeing the tables, and they keep
  // sequence number 0: whatever is written later is newer.
  options.snapshot_consistency = false;
  options.allow_global_seqno = false;
  options.write_global_seqno = false;
  options.allow_blocking_flush = false;
  // RocksDB 7.8 asks a table for its first and last key and does not look whether that failed:
  // after a read error it takes the table in as one without keys, and nobody finds anything in it.
  RAFTKV_ASSIGN_OR_RETURN(const TableBounds given,
                          BoundsOf(tables, rocksdb::Options(db_->GetDBOptions(), kv_options_)));
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(db_->IngestExternalFile(family, tables, options),
                                     "taking tables into " + family->GetName()));
  if (BoundsIn(db_.get(), family) == given) return Status::Ok();
  return {Code::kIoError, "RocksDB took tables into " + family->GetName() +
                              " with other keys than they hold, as after a read error"};
}

StatusOr<uint64_t> Engine::StageKv(const std::vector<std::string>& tables) {
  uint64_t id = 0;
  {
    std::lock_guard lock(kv_mutex_);
    id = ++last_kv_id_;
  }
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(db_->CreateColumnFamily(kv_options_, KvFamilyName(id), &handle),
                  "making the column family " + KvFamilyName(id)));
  const FamilyHandle family = Own(handle);
  if (!tables.empty()) {
    if (Status status = Ingest(handle, tables); !status.ok()) {
      // Should this fail too, Open removes it.
      const rocksdb::Status dropped = db_->DropColumnFamily(handle);
      if (!dropped.ok())
        spdlog::error("dropping {} failed, error={}", KvFamilyName(id), dropped.ToString());
      return status;
    }
  }
  std::lock_guard lock(kv_mutex_);
  staged_.emplace(id, family);
  return id;
}

StatusOr<FamilyHandle> Engine::TakeStaged(uint64_t id) {
  std::lock_guard lock(kv_mutex_);
  const auto staged = staged_.extract(id);
  if (staged.empty()) {
    return Status(Code::kNotFound, "no applied state is staged as " + KvFamilyName(id));
  }
  return staged.mapped();
}

Status Engine::DropStagedKv(uint64_t id) {
  RAFTKV_ASSIGN_OR_RETURN(const FamilyHandle family, TakeStaged(id));
  return FromRocksDb(db_->DropColumnFamily(family.get()), "dropping " + KvFamilyName(id));
}

std::pair<std::string, std::string> Engine::KvFamilyRecord(uint64_t id) {
  return {std::string(kKvFamilyKey), EncodeKvFamily(id)};
}

Status Engine::AdoptStagedKv(uint64_t id) {
  // The former state must not go while a start would still look for it.
  RAFTKV_ASSIGN_OR_RETURN(const uint64_t on_record, KvFamilyOnRecord());
  if (on_record != id) {
    return Status(Code::kFailedPrecondition, "raft_meta says that the applied state is " +
                                                 KvFamilyName(on_record) + ", not " +
                                                 KvFamilyName(id));
  }
  RAFTKV_ASSIGN_OR_RETURN(FamilyHandle family, TakeStaged(id));
  {
    std::lock_guard lock(kv_mutex_);
    std::swap(kv_, family);
  }
  return FromRocksDb(db_->DropColumnFamily(family.get()), "dropping " + family->GetName());
}

Status Engine::MakeCheckpoint(const std::string& path) {
  rocksdb::Checkpoint* made = nullptr;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(rocksdb::Checkpoint::Create(db_.get(), &made), "preparing a checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // Flushes every family (a WAL limit of 0): kv because what it holds is nowhere else, the others
  // so that there is no WAL to copy and to replay.
  return FromRocksDb(checkpoint->CreateCheckpoint(path, /*log_size_for_flush=*/0),
                     "making a checkpoint in " + path);
}

Status Engine::FlushKv() {
  rocksdb::FlushOptions flush;
  flush.wait = true;
  for (;;) {
    const FamilyHandle family = kv();
    const rocksdb::Status status = db_->Flush(flush, family.get());
    // Replaced meanwhile: the one that is kv now is to be flushed.
    if (status.IsColumnFamilyDropped() && kv() != family) continue;
    return FromRocksDb(status, "flushing " + family->GetName());
  }
}

StatusOr<std::string> Engine::GetFlushedKv(const std::string& key) const {
  rocksdb::ReadOptions read;
  read.read_tier = rocksdb::kPersistedTier;
  std::string value;
  const rocksdb::Status status = db_->Get(read, kv().get(), key, &value);
  if (!status.ok()) return FromRocksDb(status, "reading what kv has flushed");
  return value;
}

}  // namespace raftkv::store
