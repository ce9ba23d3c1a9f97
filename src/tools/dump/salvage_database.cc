#include "tools/dump/salvage_database.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include <rocksdb/write_batch.h>

#include "store/engine_files.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "store/wal_file_system.h"
#include "store/wal_format.h"
#include "tools/dump/child.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/wal_records.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

using store::FindIntactWalChunk;
using store::kWalBlockBytes;
using store::kWalChunkHeaderBytes;
using store::ReadWalChunk;
using store::WalChunk;
using store::WalChunkError;
using store::WalChunkType;

namespace fs = std::filesystem;

// As Engine::Bootstrap makes the families, RocksDB numbers them. The WAL has the numbers.
constexpr uint32_t kRaftMetaId = 1;
constexpr uint32_t kRaftLogId = 2;

rocksdb::DBOptions RepairOptions() {
  rocksdb::DBOptions options = store::DatabaseOptions({});
  options.create_missing_column_families = true;
  return options;
}

// In a child.
StatusOr<std::string> Repair(const std::string& path) {
  rocksdb::DBOptions options = RepairOptions();
  options.create_if_missing = true;
  const std::vector<rocksdb::ColumnFamilyDescriptor> known =
      store::ColumnFamilies(ScratchEngineOptions(path), {});
  const rocksdb::ColumnFamilyOptions kv =
      store::ColumnFamilies(ScratchEngineOptions(path), {store::kKvFamily}).back().options;
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(rocksdb::RepairDB(path, options, known, kv),
                                            "making a database of the intact tables"));
  return std::string();
}

// Puts the chunks of one WAL file together to records, and goes on behind damage.
class WalFileReader {
 public:
  // `damaged` is told of the first bad chunk of a row of them.
  WalFileReader(const std::string& path, uint64_t number,
                const std::function<void(std::string_view batch)>& record,
                const std::function<void(const std::string& where)>& damaged)
      : path_(path),
        name_(fs::path(path).filename()),
        number_(number),
        record_(record),
        damaged_(damaged) {}

  void Read() {
    // What can't be read ends it, as the file's end does.
    std::unique_ptr<rocksdb::SequentialFile> in;
    if (!store::DefaultEnv()->NewSequentialFile(path_, &in, rocksdb::EnvOptions()).ok()) return;
    std::string buffer(kWalBlockBytes, '\0');
    rocksdb::Slice block;
    do {
      if (!in->Read(buffer.size(), &block, buffer.data()).ok()) break;
      ReadBlock(std::string_view(block.data(), block.size()));
      base_ += block.size();
    } while (block.size() == buffer.size());
    if (in_record_) Damaged(base_);
  }

 private:
  void ReadBlock(std::string_view block) {
    for (size_t at = 0; at < block.size();) {
      const size_t left = block.size() - at;
      if (block.size() == kWalBlockBytes && left < kWalChunkHeaderBytes) return;
      const WalChunk chunk = ReadWalChunk(block, at, number_);
      if (block.find_first_not_of('\0', at) == std::string_view::npos && !in_record_) {
        // Written ahead, if nothing follows.
        if (!zeros_) zeros_ = base_ + at;
        return;
      }
      if (zeros_) Damaged(*zeros_);
      zeros_.reset();
      if (chunk.error == WalChunkError::kNone) {
        Take(chunk, base_ + at);
        at += chunk.bytes;
        continue;
      }
      Damaged(base_ + at);
      const auto next = FindIntactWalChunk(block, at, number_);
      if (!next) return;
      at = *next;
    }
  }

  void Take(const WalChunk& chunk, uint64_t offset) {
    const bool starts = chunk.type == WalChunkType::kFull || chunk.type == WalChunkType::kFirst;
    const bool ends = chunk.type == WalChunkType::kFull || chunk.type == WalChunkType::kLast;
    if (starts == in_record_) {
      // The start of this record, or the end of the one before, is lost.
      Damaged(offset);
      if (!starts) return;
    }
    if (starts) batch_.clear();
    batch_.append(chunk.payload);
    in_record_ = !ends;
    if (!ends) return;
    in_damage_ = false;
    record_(batch_);
  }

  void Damaged(uint64_t offset) {
    in_record_ = false;
    if (!in_damage_) damaged_(name_ + " at offset " + std::to_string(offset));
    in_damage_ = true;
  }

  const std::string path_;
  const std::string name_;
  const uint64_t number_;
  const std::function<void(std::string_view)>& record_;
  const std::function<void(const std::string&)>& damaged_;
  uint64_t base_ = 0;
  bool in_record_ = false;
  bool in_damage_ = false;
  std::optional<uint64_t> zeros_;  // where they begin that may be the rest of the file
  std::string batch_;
};

Status AddTo(rocksdb::ColumnFamilyHandle* family, const WalUpdate& update,
             rocksdb::WriteBatch* batch) {
  const rocksdb::Slice key(update.key.data(), update.key.size());
  const rocksdb::Slice value(update.value.data(), update.value.size());
  rocksdb::Status added;
  switch (update.kind) {
    case WalUpdateKind::kPut:
      added = batch->Put(family, key, value);
      break;
    case WalUpdateKind::kDelete:
      added = batch->Delete(family, key);
      break;
    case WalUpdateKind::kDeleteRange:
      added = batch->DeleteRange(family, key, value);
      break;
    case WalUpdateKind::kSingleDelete:
    case WalUpdateKind::kMerge:
      added = rocksdb::Status::NotSupported("a change that is not of this program");
  }
  return store::FromRocksDb(added, "taking a WAL record over");
}

}  // namespace

StatusOr<std::unique_ptr<SalvagedDatabase>> SalvagedDatabase::Make(
    const std::string& db_path, const TableList& tables, const ScratchDirectory& scratch) {
  const std::string path = scratch.path() + "/repaired";
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(path));
  RAFTKV_RETURN_IF_ERROR(MakeDirectory(path));
  for (const SstFile& table : tables.files) {
    // Without a list every table counts: one that compaction replaced says nothing wrong, it only
    // says again what others say.
    if (!table.status.ok() || !tables.Counts(table)) continue;
    RAFTKV_RETURN_IF_ERROR(CopyFile(table.path, path + "/" + table.name));
  }
  RAFTKV_RETURN_IF_ERROR(CallInChild([&path] { return Repair(path); }).status());
  std::unique_ptr<SalvagedDatabase> database(new SalvagedDatabase());
  RAFTKV_RETURN_IF_ERROR(database->Open(path));
  RAFTKV_RETURN_IF_ERROR(database->ReadWal(db_path));
  return database;
}

SalvagedDatabase::~SalvagedDatabase() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
}

Status SalvagedDatabase::Open(const std::string& path) {
  std::vector<std::string> names;
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      rocksdb::DB::ListColumnFamilies(RepairOptions(), path, &names), "reading what was repaired"));
  std::vector<std::string> kv_families;
  for (const std::string& name : names) {
    if (store::ParseKvFamilyName(name)) kv_families.push_back(name);
  }
  rocksdb::DB* opened = nullptr;
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      rocksdb::DB::Open(RepairOptions(), path,
                        store::ColumnFamilies(ScratchEngineOptions(path), kv_families), &handles_,
                        &opened),
      "opening what was repaired"));
  db_.reset(opened);
  return Status::Ok();
}

rocksdb::ColumnFamilyHandle* SalvagedDatabase::family(const std::string& name) const {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    if (handle->GetName() == name) return handle;
  }
  return nullptr;
}

std::string SalvagedDatabase::KvFamily() const {
  std::string record;
  if (db_->Get(rocksdb::ReadOptions(), family(store::kRaftMetaFamily),
               std::string(store::kKvFamilyKey), &record)
          .ok()) {
    const StatusOr<uint64_t> id = store::DecodeKvFamily(record);
    if (id.ok()) return store::KvFamilyName(*id);
  }
  uint64_t newest = 0;
  for (const rocksdb::ColumnFamilyHandle* handle : handles_) {
    newest = std::max(newest, store::ParseKvFamilyName(handle->GetName()).value_or(0));
  }
  return store::KvFamilyName(newest);
}

Status SalvagedDatabase::ReadWal(const std::string& db_path) {
  rocksdb::ColumnFamilyHandle* const targets[] = {family(store::kRaftMetaFamily),
                                                  family(store::kRaftLogFamily)};
  uint64_t flushed[] = {0, 0};  // all that was written up to there is in the tables
  std::vector<rocksdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  for (const auto& file : files) {
    if (file.column_family_name == store::kRaftMetaFamily) {
      flushed[0] = std::max<uint64_t>(flushed[0], file.largest_seqno);
    } else if (file.column_family_name == store::kRaftLogFamily) {
      flushed[1] = std::max<uint64_t>(flushed[1], file.largest_seqno);
    }
  }
  Status status;
  std::string damage;  // met, and nothing intact behind it yet
  const auto apply = [&](const WalRecord& record) {
    rocksdb::WriteBatch out;
    uint64_t sequence = record.sequence;
    for (const WalUpdate& update : record.updates) {
      const uint64_t at = sequence++;
      if (update.family != kRaftMetaId && update.family != kRaftLogId) continue;
      if (at <= flushed[update.family - 1]) continue;
      const Status added = AddTo(targets[update.family - 1], update, &out);
      if (!added.ok()) {
        damage = added.message();
        return;
      }
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const rocksdb::Status written = db_->Write(options, &out);
    if (status.ok()) status = store::FromRocksDb(written, "taking a WAL record over");
  };
  const auto count = [&](const WalRecord& record) {
    ++tail_.records;  // what does not decode counts as a record all the same
    for (const WalUpdate& update : record.updates) {
      const auto index = wal::ParseLogKey(update.key);
      if (update.family != kRaftLogId || update.kind != WalUpdateKind::kPut || !index) continue;
      if (tail_.first_entry.none()) tail_.first_entry = *index;
      tail_.last_entry = *index;
    }
  };
  const std::function<void(std::string_view)> on_record = [&](std::string_view payload) {
    const rocksdb::WriteBatch batch{std::string(payload)};
    const WalRecord record = ReadBatch(batch);
    // What the tables have anyway is not missed.
    const bool missed = record.sequence > std::min(flushed[0], flushed[1]) + 1;
    if (!damage.empty() && missed && tail_.damage.empty()) tail_.damage = damage;
    if (!tail_.damage.empty()) return count(record);
    damage = record.status.ok() ? "" : record.status.message();
    if (record.status.ok()) apply(record);
  };
  const std::function<void(const std::string&)> on_damage = [&](const std::string& where) {
    if (damage.empty()) damage = where;
  };
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<store::WalFile> wals, store::WalFiles(db_path));
  for (const store::WalFile& wal : wals) {
    WalFileReader(wal.path, wal.number, on_record, on_damage).Read();
  }
  return status;
}

}  // namespace raftkv::tools::dump
