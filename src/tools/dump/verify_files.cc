#include "tools/dump/verify_files.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "store/engine_files.h"
#include "tools/dump/directory.h"
#include "wal/manifest_check.h"
#include "wal/wal_file_scan.h"
#include "wal/wal_presence.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

constexpr char kFiles[] = "files";
constexpr char kWal[] = "wal";

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

std::string ReadSmallFile(const std::string& path) {
  constexpr size_t kBytesMax = 4096;
  std::string bytes(kBytesMax, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data(), kBytesMax);
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
}

class FilesVerifier {
 public:
  FilesVerifier(const std::string& path, Findings* findings)
      : path_(path), db_(path + "/db"), findings_(findings) {}

  FilesVerified Run() {
    CheckMarkers();
    const bool manifest = CheckCurrent() && CheckManifest();
    CheckUnused();
    findings_->Done(kFiles, "the node's markers, CURRENT and the MANIFEST");
    const bool wal = ScanWal();
    result_.may_open = manifest && wal;
    return result_;
  }

 private:
  void CheckMarkers() {
    if (Exists(path_ + "/" + kRemovedMarker)) {
      Note(kFiles, "removed", "this member was removed from its cluster",
           "a start refuses, for good; the data is as whole as the rest of this report says");
    }
    if (!Exists(path_ + "/" + kMemberMarker)) {
      Note(kFiles, "member",
           "the marker that says that the directory has belonged to a node is not there",
           "a start writes it again; it guards against a deleted database only");
    } else if (!IsFile(path_ + "/" + kMemberMarker)) {
      Problem(kFiles, {.file = "member"}, "it is not a file", "a start fails, unable to write it");
    }
    if (Exists(path_ + "/db.bootstrap")) {
      Note(kFiles, "db.bootstrap", "a first start was cut off before",
           "it is not used and holds nothing that was acknowledged");
    }
  }

  bool CheckCurrent() {
    const Place place{.file = "db/CURRENT"};
    const std::string means =
        "which files make up the database is not known: it can't be opened, by a start neither";
    if (!IsFile(db_ + "/CURRENT")) {
      Problem(kFiles, place, "there is no CURRENT", means);
      return false;
    }
    const std::string current = ReadSmallFile(db_ + "/CURRENT");
    const std::string name = current.substr(0, current.find('\n'));
    if (current != name + "\n" || !name.starts_with("MANIFEST-")) {
      Problem(kFiles, place,
              "it does not hold the name of a MANIFEST: \"" + store::Printable(current) + "\"",
              means);
      return false;
    }
    if (!IsFile(db_ + "/" + name)) {
      Problem(kFiles, place, "it names " + name + ", which is not there", means);
      return false;
    }
    manifest_ = name;
    return true;
  }

  bool CheckManifest() {
    const Status status = wal::CheckManifest(db_);
    if (status.ok()) return true;
    Problem(kFiles, {.file = "db/" + manifest_}, status.message(),
            "a start refuses. The database was not opened, so that log and state were not checked");
    return false;
  }

  // A start reads neither, and writes both anew.
  void CheckUnused() {
    if (!IsFile(db_ + "/IDENTITY") || ReadSmallFile(db_ + "/IDENTITY").empty()) {
      Note(kFiles, "db/IDENTITY", "RocksDB's name for this database is not there",
           "a start makes up a new one; nothing of raftkv depends on it");
    }
    bool options = false;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(db_, error)) {
      options = options || entry.path().filename().string().starts_with("OPTIONS-");
    }
    if (!options) {
      Note(kFiles, "db", "there is no OPTIONS file",
           "a start writes one; raftkv knows its options itself and never reads it");
    }
  }

  // Behind damage in the WAL nothing is read, and what is before it is worth checking.
  bool ScanWal() {
    if (const Status newest = wal::CheckNewestWalIsThere(db_); !newest.ok()) {
      Problem(
          kWal, {.file = "db"}, newest.message(),
          "a start does not notice this by itself: the last writes are gone, acknowledged or not");
    }
    const StatusOr<wal::WalScan> scan = wal::ScanWalFiles(db_);
    if (!scan.ok()) {
      Problem(kWal, FindWalDamage(), scan.status().message(),
              scan.status().code() == Code::kCorruption
                  ? "what follows in this report about the log is of what comes before the damage"
                  : "the WAL could not be read, and so not checked");
      findings_->Done(kWal, "every WAL file, record by record");
      result_.wal_is_whole = false;
      result_.recovery = store::WalRecovery::kTornTail;
      return scan.status().code() == Code::kCorruption;
    }
    if (scan->recovery == store::WalRecovery::kTornTail) {
      const Place place{.file = "db/" + scan->torn_file, .offset = scan->torn_offset};
      findings_->Note({kWal,
                       place,
                       "the last write was cut off: " + std::to_string(scan->torn_bytes) +
                           " bytes that hold no whole record",
                       "a crash leaves that where nothing behind it was acknowledged, and a start "
                       "cuts it off; if there was no crash, the end of the log is damaged",
                       {}});
    }
    result_.recovery = scan->recovery;
    uint64_t records = 0;
    for (const wal::WalFileReport& file : scan->files) records += file.records;
    findings_->Done(kWal, std::to_string(scan->files.size()) + " files, " +
                              std::to_string(records) + " records");
    return true;
  }

  // In the oldest file with any; a file that is missing is nowhere.
  Place FindWalDamage() const {
    const StatusOr<std::vector<store::WalFile>> files = store::WalFiles(db_);
    if (!files.ok()) return {.file = "db"};
    for (const store::WalFile& file : *files) {
      const StatusOr<wal::WalFileScan> scan = wal::ScanWalFile(file.path, file.number);
      if (!scan.ok()) return {.file = "db/" + fs::path(file.path).filename().string()};
      if (!scan->damage.empty()) {
        return {.file = "db/" + scan->report.name, .offset = scan->damage_offset};
      }
    }
    return {.file = "db"};
  }

  void Problem(const std::string& check, Place place, std::string what, std::string means) {
    findings_->Problem(
        {check, std::move(place), std::move(what), std::move(means), kReplaceAdvice});
  }

  void Note(const std::string& check, std::string file, std::string what, std::string means) {
    findings_->Note({check, {.file = std::move(file)}, std::move(what), std::move(means), {}});
  }

  const std::string path_;
  const std::string db_;
  Findings* const findings_;
  std::string manifest_;
  FilesVerified result_;
};

}  // namespace

FilesVerified VerifyFiles(const std::string& path, Findings* findings) {
  return FilesVerifier(path, findings).Run();
}

}  // namespace raftkv::tools::dump
