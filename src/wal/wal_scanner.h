// Reads RocksDB's WAL files before RocksDB does, and tells a write that a crash cut off from
// damage.
//
// No wal_recovery_mode does (docs/durability.md): point-in-time drops synced records behind a
// flipped bit, absolute refuses an honest torn tail. Read-only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "store/engine.h"

namespace raftkv::wal {

// One file's findings.
struct WalFileReport {
  std::string name;  // e.g. 000012.log
  uint64_t bytes = 0;
  uint64_t records = 0;      // logical records read whole
  uint64_t valid_bytes = 0;  // up to the end of the last whole record
};

struct WalScan {
  store::WalRecovery recovery = store::WalRecovery::kClean;
  std::vector<WalFileReport> files;  // oldest first
  // With kTornTail: what will be cut off, for the log.
  std::string torn_file;
  uint64_t torn_offset = 0;
  uint64_t torn_bytes = 0;
};

// Scans every WAL file in `db_path`. kCorruption, with the file, the offset and what to do, when
// there is anything valid behind damage, or damage in any but the newest file. kIoError when a file
// can't be read.
StatusOr<WalScan> ScanWalFiles(const std::string& db_path);

}  // namespace raftkv::wal
