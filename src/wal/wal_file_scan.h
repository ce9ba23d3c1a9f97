// What is to be known about one WAL file; the verdict over all of them is the scanner's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/status.h"
#include "wal/wal_scanner.h"

namespace raftkv::wal {

struct WalFileScan {
  WalFileReport report;
  // Empty when every byte is accounted for; else what is wrong at `damage_offset`.
  std::string damage;
  uint64_t damage_offset = 0;
  // An intact chunk at or behind the damage.
  std::optional<uint64_t> intact_offset;
  // From the damage on there are only zeros.
  bool zero_tail = false;
};

// Reads the file once, with bounded memory. kIoError when it can't be read.
StatusOr<WalFileScan> ScanWalFile(const std::string& path, uint64_t file_number);

}  // namespace raftkv::wal
