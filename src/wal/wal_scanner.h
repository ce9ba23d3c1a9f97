// Reads RocksDB's WAL files before RocksDB does, and tells a write that a crash cut off from
// damage.
//
// No wal_recovery_mode does (docs/durability.md): point-in-time drops synced records behind a
// flipped bit, absolute refuses an honest torn tail. Read-only.
//
// Files are read as RocksDB reads them, without the zeros that are written ahead of the log
// (store/wal_file_system.h).
//
// The rule: a crash can only leave bad bytes where nothing was synced after them. So bad bytes at
// the end of what was logged are a torn tail, and bad bytes with anything intact behind them are
// damage: but for the rest of the very record that they are in, if there is a sector of zeros among
// them, as a power failure leaves it that wrote the pages of one write out of order. It errs on the
// side of refusing in one case on purpose: a cut-off write whose own payload holds an intact WAL
// chunk, because a client stores such files as values, looks like damage.
// What the WAL alone can't tell: damage to the very last record of the newest file, synced and
// acknowledged, looks like a write that was cut off. Only a second witness can
// (docs/durability.md).
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
  uint64_t writes = 0;       // those of them that hold updates
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
// there is anything intact behind damage, or damage in a file that a written one follows. kIoError
// when a file can't be read, kNotFound when there is no such directory. `env` is as in
// EngineOptions.
StatusOr<WalScan> ScanWalFiles(const std::string& db_path, rocksdb::Env* env = nullptr);

}  // namespace raftkv::wal
