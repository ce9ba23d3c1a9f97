#include "tools/dump/salvage_database.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include <rocksdb/write_batch.h>

#include "common/coding.h"
#include "store/engine_files.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "tools/dump/child.h"
#include "tools/dump/rebuild.h"
#include "wal/keys.h"
#include "wal/wal_format.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

// As Engine::Bootstrap makes the families, RocksDB numbers them. The WAL has the numbers.
constexpr uint32_t kRaftMetaId = 1;
constexpr uint32_t kRaftLogId = 2;

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

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
      : in_(path, std::ios::binary),
        name_(fs::path(path).filename()),
        number_(number),
        record_(record),
        damaged_(damaged) {}

  void Read() {
    std::string block(wal::kWalBlockBytes, '\0');
    while (in_) {
      in_.read(block.data(), static_cast<std::streamsize>(wal::kWalBlockBytes));
      block.resize(static_cast<size_t>(in_.gcount()));
      ReadBlock(block);
      base_ += block.size();
    }
    if (in_record_) Damaged(base_);
  }

 private:
  void ReadBlock(std::string_view block) {
    for (size_t at = 0; at < block.size();) {
      const size_t left = block.size() - at;
      if (block.size() == wal::kWalBlockBytes && left < wal::kChunkHeaderBytes) return;
      const wal::Chunk chunk = wal::ReadChunk(block, at, number_);
      if (chunk.error == wal::ChunkError::kNone) {
        Take(chunk, base_ + at);
        at += chunk.bytes;
        continue;
      }
      Damaged(base_ + at);
      const auto next = wal::FindIntactChunk(block, at, number_);
      if (!next) return;
      at = *next;
    }
  }

  void Take(const wal::Chunk& chunk, uint64_t offset) {
    const bool starts = chunk.type == wal::ChunkType::kFull || chunk.type == wal::ChunkType::kFirst;
    const bool ends = chunk.type == wal::ChunkType::kFull || chunk.type == wal::ChunkType::kLast;
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

  std::ifstream in_;
  const std::string name_;
  const uint64_t number_;
  const std::function<void(std::string_view)>& record_;
  const std::function<void(const std::string&)>& damaged_;
  uint64_t base_ = 0;
  bool in_record_ = false;
  bool in_damage_ = false;
  std::string batch_;
};

// The updates of one WAL record, with their sequence numbers.
class Updates : public rocksdb::WriteBatch::Handler {
 public:
  // Of family `id`; without a value: a delete.
  using Visitor = std::function<void(uint32_t id, uint64_t sequence, const rocksdb::Slice& key,
                                     const rocksdb::Slice* value, const rocksdb::Slice* end)>;

  Updates(uint64_t sequence, const Visitor& visit) : sequence_(sequence), visit_(visit) {}

  rocksdb::Status PutCF(uint32_t id, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    visit_(id, sequence_++, key, &value, nullptr);
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t id, const rocksdb::Slice& key) override {
    visit_(id, sequence_++, key, nullptr, nullptr);
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteRangeCF(uint32_t id, const rocksdb::Slice& begin,
                                const rocksdb::Slice& end) override {
    visit_(id, sequence_++, begin, nullptr, &end);
    return rocksdb::Status::OK();
  }
  rocksdb::Status SingleDeleteCF(uint32_t, const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a SingleDelete: not of this program");
  }

 private:
  uint64_t sequence_;
  const Visitor& visit_;
};

uint64_t SequenceOf(std::string_view batch) {
  uint64_t sequence = 0;
  ConsumeLittleEndian64(&batch, &sequence);
  return sequence;
}

Status Iterate(std::string_view batch, const Updates::Visitor& visit) {
  if (batch.size() < wal::kBatchHeaderBytes) {
    return Status(Code::kCorruption, "a WAL record is too short");
  }
  Updates updates(SequenceOf(batch), visit);
  const rocksdb::WriteBatch parsed{std::string(batch)};
  return store::FromRocksDb(parsed.Iterate(&updates), "reading a WAL record");
}

}  // namespace

StatusOr<std::unique_ptr<SalvagedDatabase>> SalvagedDatabase::Make(
    const std::string& db_path, const TableList& tables, const ScratchDirectory& scratch) {
  const std::string path = scratch.path() + "/repaired";
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
  const auto apply = [&](std::string_view batch) {
    rocksdb::WriteBatch out;
    const auto add = [&](uint32_t id, uint64_t sequence, const rocksdb::Slice& key,
                         const rocksdb::Slice* value, const rocksdb::Slice* end) {
      if (id != kRaftMetaId && id != kRaftLogId) return;
      if (sequence <= flushed[id - 1]) return;
      rocksdb::ColumnFamilyHandle* const target = targets[id - 1];
      const rocksdb::Status added = value != nullptr ? out.Put(target, key, *value)
                                    : end != nullptr ? out.DeleteRange(target, key, *end)
                                                     : out.Delete(target, key);
      if (status.ok()) status = store::FromRocksDb(added, "taking a WAL record over");
    };
    if (const Status read = Iterate(batch, add); !read.ok()) {
      damage = read.message();
      return;
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const rocksdb::Status written = db_->Write(options, &out);
    if (status.ok()) status = store::FromRocksDb(written, "taking a WAL record over");
  };
  const auto count = [&](std::string_view batch) {
    ++tail_.records;
    const auto note = [&](uint32_t id, uint64_t, const rocksdb::Slice& key,
                          const rocksdb::Slice* value, const rocksdb::Slice*) {
      const auto index = wal::ParseLogKey(View(key));
      if (id != kRaftLogId || value == nullptr || !index) return;
      if (tail_.first_entry.none()) tail_.first_entry = *index;
      tail_.last_entry = *index;
    };
    // What does not decode counts as a record all the same.
    (void)Iterate(batch, note);
  };
  const std::function<void(std::string_view)> on_record = [&](std::string_view batch) {
    // What the tables have anyway is not missed.
    const bool missed = SequenceOf(batch) > std::min(flushed[0], flushed[1]) + 1;
    if (!damage.empty() && missed && tail_.damage.empty()) tail_.damage = damage;
    if (tail_.damage.empty()) {
      damage.clear();
      apply(batch);
    } else {
      count(batch);
    }
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
