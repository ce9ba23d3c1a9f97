#include "tools/dump/sst_files.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <rocksdb/iterator.h>
#include <rocksdb/sst_file_reader.h>

#include "store/engine.h"
#include "store/engine_options.h"
#include "store/kv_kinds.h"
#include "store/mvcc.h"
#include "store/wal_file_system.h"
#include "tools/dump/child.h"
#include "tools/dump/manifest.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

Json::binary_t Binary(std::string_view bytes) {
  return Json::binary_t(std::vector<uint8_t>(bytes.begin(), bytes.end()));
}

std::string Bytes(const Json& json) {
  const Json::binary_t& bytes = json.get_binary();
  return {bytes.begin(), bytes.end()};
}

// The first and the last key of a table from `from` up to but not `to` (empty: no bound).
struct KeyRange {
  std::string first;
  std::string last;
};
std::optional<KeyRange> FindKeys(rocksdb::Iterator* it, const std::string& from,
                                 const std::string& to) {
  it->Seek(from);
  if (!it->Valid()) return std::nullopt;
  KeyRange range{std::string(View(it->key())), ""};
  if (to.empty()) {
    it->SeekToLast();
  } else {
    it->SeekForPrev(to);
  }
  if (!it->Valid()) return std::nullopt;
  range.last = View(it->key());
  if (range.last < range.first) return std::nullopt;
  return range;
}

// In the child: everything about the file, packed. A damaged block does not hide what was read
// before: "error" is then set.
StatusOr<std::string> Examine(const std::string& path, bool verify) {
  rocksdb::Options options;
  options.env = store::DefaultEnv();
  rocksdb::SstFileReader reader(options);
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(reader.Open(path), "opening the table"));
  const auto properties = reader.GetTableProperties();
  Json json{{"family", properties->column_family_name},
            {"entries", properties->num_entries},
            {"deletions", properties->num_deletions},
            {"range_deletions", properties->num_range_deletions}};
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.total_order_seek = true;
  const std::unique_ptr<rocksdb::Iterator> it(reader.NewIterator(read));
  if (const auto keys = FindKeys(it.get(), "", "")) {
    json["smallest"] = Binary(keys->first);
    json["largest"] = Binary(keys->last);
  }
  rocksdb::Status damage = it->status();
  // In the revision index keys are in the order of revisions. No key is the bound itself.
  const std::string revisions(1, store::kRevisionKind);
  const std::string behind(1, store::kRevisionKind + 1);
  if (const auto keys = FindKeys(it.get(), revisions, behind)) {
    store::Revision first;
    store::Revision last;
    if (store::DecodeRevisionKey(keys->first, &first).ok() &&
        store::DecodeRevisionKey(keys->last, &last).ok()) {
      json["revisions"] = Json::array({first.main, last.main});
    }
  }
  if (damage.ok()) damage = it->status();
  if (damage.ok() && verify) damage = reader.VerifyChecksum(read);
  if (!damage.ok()) json["error"] = damage.ToString();
  std::string packed;
  Json::to_cbor(json, packed);
  return packed;
}

void SetIndexes(SstFile* file) {
  if (file->family != store::kRaftLogFamily) return;
  const auto first = wal::ParseLogKey(file->smallest);
  const auto last = wal::ParseLogKey(file->largest);
  if (first && last) file->indexes = NumberRange{first->value(), last->value()};
}

void Unpack(const Json& json, SstFile* file) {
  if (file->family.empty()) file->family = json["family"].get<std::string>();
  file->entries = json["entries"].get<uint64_t>();
  file->deletions = json["deletions"].get<uint64_t>();
  file->range_deletions = json["range_deletions"].get<uint64_t>();
  if (file->smallest.empty() && json.contains("smallest")) {
    file->smallest = Bytes(json["smallest"]);
    file->largest = Bytes(json["largest"]);
  }
  if (json.contains("revisions") && store::ParseKvFamilyName(file->family)) {
    file->revisions =
        NumberRange{json["revisions"][0].get<uint64_t>(), json["revisions"][1].get<uint64_t>()};
  }
  if (json.contains("error")) {
    file->status = Status(Code::kCorruption, json["error"].get<std::string>());
  }
}

// The tables in the directory, by name.
StatusOr<std::vector<fs::path>> FindTables(const std::string& db_path) {
  std::error_code error;
  if (!fs::is_directory(db_path, error)) {
    return Status(Code::kNotFound, "there is no database directory " + db_path);
  }
  std::vector<fs::path> found;
  for (fs::directory_iterator it(db_path, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".sst") found.push_back(it->path());
  }
  if (error) return Status(Code::kIoError, "cannot list " + db_path + ": " + error.message());
  std::sort(found.begin(), found.end());
  return found;
}

SstFile ListedFile(const std::string& db_path, const ListedTable& table) {
  SstFile file;
  file.name = table.name;
  file.path = db_path + "/" + table.name;
  file.family = table.family;
  file.level = table.level;
  file.listed_bytes = table.bytes;
  file.smallest = table.smallest;
  file.largest = table.largest;
  return file;
}

}  // namespace

StatusOr<SstListing> ListSstFiles(const std::string& db_path) {
  SstListing listing;
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<fs::path> found, FindTables(db_path));
  std::set<std::string> listed;
  const StatusOr<Manifest> manifest = ReadManifest(db_path);
  listing.manifest = manifest.status();
  listing.listed = manifest.ok();
  if (manifest.ok()) {
    for (const ListedTable& table : manifest->tables) {
      listing.files.push_back(ListedFile(db_path, table));
      listed.insert(table.name);
    }
  }
  for (const fs::path& path : found) {
    if (listed.contains(path.filename())) continue;
    SstFile file;
    file.name = path.filename();
    file.path = path;
    listing.files.push_back(std::move(file));
  }
  return listing;
}

void ExamineSstFile(const SstFileOptions& options, SstFile* file) {
  SetIndexes(file);
  std::error_code error;
  file->bytes = fs::file_size(file->path, error);
  if (error) {
    file->bytes = 0;
    file->status = Status(Code::kNotFound, "the file can't be found: " + error.message());
    return;
  }
  const StatusOr<std::string> packed =
      CallInChild([&] { return Examine(file->path, options.verify); });
  file->status = packed.status();
  if (packed.ok()) Unpack(Json::from_cbor(*packed), file);
  SetIndexes(file);
  if (file->level && file->bytes != file->listed_bytes) {
    file->status = Status(Code::kCorruption, "the file has " + std::to_string(file->bytes) +
                                                 " bytes, the MANIFEST says " +
                                                 std::to_string(file->listed_bytes));
  }
}

}  // namespace raftkv::tools::dump
