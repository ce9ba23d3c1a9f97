#include "tools/dump/manifest.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <tuple>

#include <rocksdb/db.h>
#include <rocksdb/metadata.h>

#include "store/engine.h"
#include "store/engine_options.h"
#include "tools/dump/child.h"
#include "tools/dump/scratch.h"
#include "wal/manifest_check.h"

namespace raftkv::tools::dump {
namespace {

// Keys are any bytes, so what the child returns is not JSON text.
std::string Pack(const Json& json) {
  std::string out;
  Json::to_cbor(json, out);
  return out;
}

Json::binary_t Binary(const std::string& bytes) {
  return Json::binary_t(std::vector<uint8_t>(bytes.begin(), bytes.end()));
}

std::string Bytes(const Json& json) {
  const Json::binary_t& bytes = json.get_binary();
  return {bytes.begin(), bytes.end()};
}

Json TableJson(const rocksdb::LiveFileMetaData& file) {
  return Json::array({file.relative_filename, file.column_family_name, file.level, file.size,
                      Binary(file.smallestkey), Binary(file.largestkey), file.smallest_seqno,
                      file.largest_seqno});
}

ListedTable FromJson(const Json& json) {
  return {.name = json[0].get<std::string>(),
          .family = json[1].get<std::string>(),
          .level = json[2].get<int>(),
          .bytes = json[3].get<uint64_t>(),
          .smallest = Bytes(json[4]),
          .largest = Bytes(json[5]),
          .smallest_sequence = json[6].get<uint64_t>(),
          .largest_sequence = json[7].get<uint64_t>()};
}

// Opens without the WAL, by having RocksDB look for it in a directory where there is none.
StatusOr<std::string> ReadPacked(const std::string& db_path, const std::string& no_wal_dir) {
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(db_path));
  store::EngineOptions options;
  options.path = db_path;
  rocksdb::DBOptions db_options = store::DatabaseOptions(options);
  db_options.wal_dir = no_wal_dir;
  // What the list says is wanted even where the tables that it lists are not what it says.
  db_options.paranoid_checks = false;
  const auto failed = [&](const rocksdb::Status& status) {
    return Status(Code::kCorruption, "the list of the database's files, the MANIFEST in " +
                                         db_path + ", can't be used: " + status.ToString());
  };
  std::vector<std::string> names;
  rocksdb::Status status = rocksdb::DB::ListColumnFamilies(db_options, db_path, &names);
  if (!status.ok()) return failed(status);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  status = rocksdb::DB::OpenForReadOnly(db_options, db_path, families, &handles, &opened);
  if (!status.ok()) return failed(status);
  const std::unique_ptr<rocksdb::DB> db(opened);
  Json ids = Json::array();
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    ids.push_back(Json::array({handle->GetID(), handle->GetName()}));
    db->DestroyColumnFamilyHandle(handle);
  }
  std::vector<rocksdb::LiveFileMetaData> files;
  db->GetLiveFilesMetaData(&files);
  Json tables = Json::array();
  for (const rocksdb::LiveFileMetaData& file : files) tables.push_back(TableJson(file));
  return Pack(Json::array({ids, tables}));
}

}  // namespace

StatusOr<Manifest> ReadManifest(const std::string& db_path) {
  std::error_code error;
  if (!std::filesystem::is_directory(db_path, error)) {
    return Status(Code::kNotFound, "there is no database directory " + db_path);
  }
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchDirectory> no_wal,
                          ScratchDirectory::Make(""));
  RAFTKV_ASSIGN_OR_RETURN(const std::string packed,
                          CallInChild([&] { return ReadPacked(db_path, no_wal->path()); }));
  const Json json = Json::from_cbor(packed);
  Manifest manifest;
  for (const Json& family : json[0]) {
    manifest.families[family[0].get<uint32_t>()] = family[1].get<std::string>();
  }
  for (const Json& table : json[1]) manifest.tables.push_back(FromJson(table));
  std::sort(manifest.tables.begin(), manifest.tables.end(),
            [](const ListedTable& a, const ListedTable& b) {
              return std::tie(a.family, a.level, a.smallest, a.name) <
                     std::tie(b.family, b.level, b.smallest, b.name);
            });
  return manifest;
}

std::map<uint32_t, std::string> UsualFamilies() {
  return {{0, rocksdb::kDefaultColumnFamilyName},
          {1, store::kRaftMetaFamily},
          {2, store::kRaftLogFamily},
          {3, store::kKvFamily}};
}

}  // namespace raftkv::tools::dump
