#include "wal/wal_scanner.h"

#include <utility>

#include "store/engine_files.h"
#include "store/wal_file_system.h"
#include "store/wal_format.h"
#include "wal/wal_file_scan.h"

namespace raftkv::wal {
namespace {

using store::kBatchHeaderBytes;
using store::kWalChunkHeaderBytes;

const char kAdvice[] =
    "Writes that were acknowledged may be lost, so this node does not start. Keep the directory "
    "for "
    "inspection (raftkv-dump); restore it from a backup, or remove it and let the node join anew";

std::string Where(const std::string& db_path, const WalFileScan& scan) {
  return "the WAL file " + db_path + "/" + scan.report.name + " is damaged at offset " +
         std::to_string(scan.damage_offset) + " (" + scan.damage + ")";
}

// Whether a file may follow one that ends in a cut-off write. RocksDB starts a new file before the
// old one's last write is synced, and while it recovers; nothing is put into it before the old
// one's end is settled (Engine::RetireWal, LogWriter), but for one batch without updates, which may
// itself be cut off.
bool IsUnused(const WalFileScan& scan) {
  if (scan.report.writes > 0 || scan.intact_offset) return false;
  return scan.damage.empty() || scan.zero_tail ||
         scan.data_end <= scan.report.valid_bytes + kWalChunkHeaderBytes + kBatchHeaderBytes;
}

// The verdict on the file at `at`, the oldest with damage.
StatusOr<WalScan> JudgeDamage(const std::string& db_path, const std::vector<WalFileScan>& scans,
                              size_t at, WalScan result) {
  const WalFileScan& damaged = scans[at];
  if (damaged.intact_offset) {
    return Status(Code::kCorruption, Where(db_path, damaged) +
                                         ", and intact records follow, the first at offset " +
                                         std::to_string(*damaged.intact_offset) + ". " + kAdvice);
  }
  for (size_t i = at + 1; i < scans.size(); ++i) {
    if (IsUnused(scans[i])) continue;
    return Status(Code::kCorruption, Where(db_path, damaged) +
                                         ", and it is not the newest: " + scans[i].report.name +
                                         " was written after it. " + kAdvice);
  }
  result.recovery = store::WalRecovery::kTornTail;
  result.torn_file = damaged.report.name;
  result.torn_offset = damaged.report.valid_bytes;
  result.torn_bytes = damaged.report.bytes - damaged.report.valid_bytes;
  return result;
}

}  // namespace

StatusOr<WalScan> ScanWalFiles(const std::string& db_path, rocksdb::Env* env) {
  if (env == nullptr) env = store::DefaultEnv();
  bool is_directory = false;
  if (!env->IsDirectory(db_path, &is_directory).ok() || !is_directory) {
    return Status(Code::kNotFound, "there is no database directory " + db_path);
  }
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<store::WalFile> files, store::WalFiles(db_path, env));
  std::vector<WalFileScan> scans;
  WalScan result;
  for (const store::WalFile& file : files) {
    RAFTKV_ASSIGN_OR_RETURN(WalFileScan scan, ScanWalFile(file.path, file.number, nullptr, env));
    result.files.push_back(scan.report);
    scans.push_back(std::move(scan));
  }
  for (size_t i = 0; i < scans.size(); ++i) {
    if (!scans[i].damage.empty()) return JudgeDamage(db_path, scans, i, std::move(result));
  }
  return result;
}

}  // namespace raftkv::wal
