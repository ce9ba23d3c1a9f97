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
  for (SstFile& file : list.files) {
    ExamineSstFile({.verify = true}, &file);
    // What a crash leaves while it writes a table has no end; a whole one was to be listed, or to
    // be removed.
    if (list.unreliable.empty() && !file.level && file.status.ok()) {
      list.unreliable = "the MANIFEST does not list " + file.name +
                        ", which is whole: its own end may have been lost";
    }
  }
  return list;
}

}  // namespace raftkv::tools::dump
