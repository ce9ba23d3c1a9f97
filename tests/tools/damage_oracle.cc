#include "tools/damage_oracle.h"

#include <cstring>
#include <memory>

#include <rocksdb/db.h>
#include <nlohmann/json.hpp>

#include "common/crc32c.h"
#include "tools/dump/child.h"
#include "tools/run_program.h"

namespace raftkv::tools::dump {
namespace {

// Little-endian, as records have them (docs/on-disk-format.md).
uint64_t NumberAt(const std::string& record, size_t offset) {
  uint64_t n = 0;
  if (record.size() >= offset + sizeof(n)) std::memcpy(&n, record.data() + offset, sizeof(n));
  return n;
}

std::string BigEndian(uint64_t n) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(n >> shift));
  return bytes;
}

class PlainReader {
 public:
  Status Open(const std::string& path) {
    std::vector<std::string> names;
    rocksdb::Options options;
    rocksdb::Status status = rocksdb::DB::ListColumnFamilies(options, path, &names);
    if (!status.ok()) return Status(Code::kCorruption, status.ToString());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, options);
    rocksdb::DB* db = nullptr;
    status = rocksdb::DB::OpenForReadOnly(options, path, families, &handles_, &db);
    if (!status.ok()) return Status(Code::kCorruption, status.ToString());
    db_.reset(db);
    return Status::Ok();
  }

  std::string Get(const std::string& family, const std::string& key) {
    std::string value;
    auto* handle = Family(family);
    return handle != nullptr && db_->Get({}, handle, key, &value).ok() ? value : "";
  }

  Status Read(const std::string& family, const std::string& from, std::string* digest,
              std::string* last) {
    auto* handle = Family(family);
    if (handle == nullptr) return Status(Code::kCorruption, "no column family " + family);
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, handle));
    uint32_t crc = 0;
    uint64_t records = 0;
    for (it->Seek(from); it->Valid(); it->Next(), ++records) {
      const std::string record = std::to_string(it->key().size()) + " " + it->key().ToString() +
                                 std::to_string(it->value().size()) + " " + it->value().ToString();
      crc = ExtendCrc32c(crc, record);
      *last = it->key().ToString();
    }
    if (!it->status().ok()) return Status(Code::kCorruption, it->status().ToString());
    *digest += family + " " + std::to_string(records) + " " + std::to_string(crc) + "; ";
    return Status::Ok();
  }

 private:
  rocksdb::ColumnFamilyHandle* Family(const std::string& name) {
    for (auto* handle : handles_) {
      if (handle->GetName() == name) return handle;
    }
    return nullptr;
  }

  std::vector<rocksdb::ColumnFamilyHandle*> handles_;  // the process ends with them
  std::unique_ptr<rocksdb::DB> db_;
};

StatusOr<std::string> Read(const std::string& db_path) {
  // Never closed: the process ends, and what a damaged database does in its destructor is not what
  // is asked.
  PlainReader& reader = *new PlainReader;
  RAFTKV_RETURN_IF_ERROR(reader.Open(db_path));
  nlohmann::json json;
  std::string log;
  std::string state;
  std::string last;
  RAFTKV_RETURN_IF_ERROR(reader.Read("raft_meta", "", &log, &last));
  const uint64_t before_first = NumberAt(reader.Get("raft_meta", "log_start"), 1);
  last = BigEndian(before_first);
  RAFTKV_RETURN_IF_ERROR(reader.Read("raft_log", BigEndian(before_first + 1), &log, &last));
  uint64_t last_index = 0;
  for (const char c : last) last_index = last_index << 8 | static_cast<uint8_t>(c);
  const uint64_t id = NumberAt(reader.Get("raft_meta", "kv_family"), 1);
  const std::string kv = id == 0 ? "kv" : "kv." + std::to_string(id);
  RAFTKV_RETURN_IF_ERROR(reader.Read(kv, "", &state, &last));
  json["log"] = log;
  json["state"] = state;
  json["last"] = last_index;
  json["applied"] = NumberAt(reader.Get(kv, "a"), 5);
  json["commit"] = NumberAt(reader.Get("raft_meta", "hard_state"), 17);
  return json.dump();
}

}  // namespace

StatusOr<LogicalContents> ReadLogicalContents(const std::string& db_path) {
  RAFTKV_ASSIGN_OR_RETURN(const std::string text, CallInChild([&] { return Read(db_path); }));
  const auto json = nlohmann::json::parse(text);
  return LogicalContents{json["log"], json["state"], json["last"], json["applied"], json["commit"]};
}

// Blocks of 32 KiB of chunks: u32 CRC, u16 length, u8 type (1 full, 2 first, 3 middle, 4 last).
std::vector<uint64_t> RecordBoundaries(const std::string& wal) {
  constexpr size_t kBlock = 32768;
  constexpr size_t kHeader = 7;
  const std::string bytes = ReadFile(wal);
  std::vector<uint64_t> boundaries;
  uint64_t end = 0;
  for (size_t at = 0; at + kHeader <= bytes.size();) {
    if (kBlock - at % kBlock < kHeader) {
      at += kBlock - at % kBlock;
      continue;
    }
    const size_t length = static_cast<uint8_t>(bytes[at + 4]) |
                          static_cast<size_t>(static_cast<uint8_t>(bytes[at + 5])) << 8;
    const char type = bytes[at + 6];
    if (type < 1 || type > 4 || at + kHeader + length > bytes.size()) break;
    if (type <= 2) boundaries.push_back(at);
    at += kHeader + length;
    if (type == 1 || type == 4) end = at;
  }
  // One that was cut off ends nowhere.
  if (!boundaries.empty() && boundaries.back() >= end) boundaries.pop_back();
  boundaries.push_back(end);
  return boundaries;
}

}  // namespace raftkv::tools::dump
