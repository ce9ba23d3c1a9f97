#include "tools/dump/salvage_tables.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "tools/dump/manifest.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifestPrefix = "MANIFEST-";

// Tables and MANIFEST files, without CURRENT and the WAL.
Status CopyTables(const std::string& db_path, const std::string& copy) {
  RAFTKV_RETURN_IF_ERROR(MakeDirectory(copy));
  std::error_code error;
  for (fs::directory_iterator it(db_path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (!name.ends_with(".sst") && !name.starts_with(kManifestPrefix)) continue;
    RAFTKV_RETURN_IF_ERROR(CopyFile(it->path(), copy + "/" + name));
  }
  if (error) return Status(Code::kIoError, "listing " + db_path + ": " + error.message());
  return Status::Ok();
}

// The MANIFEST that CURRENT names, or, where it names none that is there, the newest.
std::string ChooseManifest(const std::string& db_path, const std::string& copy, std::string* note) {
  std::ifstream in(db_path + "/CURRENT");
  std::string current;
  std::getline(in, current);
  std::error_code error;
  if (current.starts_with(kManifestPrefix) && fs::exists(copy + "/" + current, error)) {
    return current;
  }
  std::string newest;
  for (fs::directory_iterator it(copy, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name.starts_with(kManifestPrefix)) newest = std::max(newest, name);
  }
  if (!newest.empty()) {
    *note = "CURRENT is missing or damaged; " + newest + " is the newest MANIFEST there is";
  }
  return newest;
}

}  // namespace

StatusOr<TableList> ReadTableList(const std::string& db_path, const ScratchDirectory& scratch) {
  const std::string copy = scratch.path() + "/tables";
  RAFTKV_RETURN_IF_ERROR(CopyTables(db_path, copy));
  TableList list;
  const std::string manifest = ChooseManifest(db_path, copy, &list.note);
  if (!manifest.empty()) std::ofstream(copy + "/CURRENT") << manifest << "\n";
  RAFTKV_ASSIGN_OR_RETURN(SstListing listing, ListSstFiles(copy));
  if (!listing.listed) {
    list.unreliable = manifest.empty() ? "there is no MANIFEST" : listing.manifest.message();
  }
  list.files = std::move(listing.files);
  if (const StatusOr<Manifest> listed = ReadManifest(copy); listed.ok()) {
    for (const ListedTable& table : listed->tables) {
      list.sequences[table.name] = {table.smallest_sequence, table.largest_sequence};
    }
  }
  bool is_any_missing = false;
  for (SstFile& file : list.files) {
    ExamineSstFile({.verify = true}, &file);
    if (file.level && file.status.code() == Code::kNotFound) is_any_missing = true;
    // A table that a crash cut off has no end, and is none.
    const bool is_unlisted = !file.level && file.status.ok();
    if (is_unlisted && list.unreliable.empty() && list.unlisted.empty()) {
      list.unlisted = "the MANIFEST does not list " + file.name +
                      ", which is whole: its own end may have been lost";
    }
  }
  // They may be what the missing ones were merged into.
  if (is_any_missing && !list.unlisted.empty()) list.DistrustManifest();
  return list;
}

}  // namespace raftkv::tools::dump
