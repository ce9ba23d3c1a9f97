// What is to be known about one WAL file; the verdict over all of them is the scanner's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <rocksdb/env.h>

#include "common/status.h"
#include "wal/wal_scanner.h"

namespace raftkv::wal {

struct WalFileScan {
  WalFileReport report;
  // Empty when every byte is accounted for; else what is wrong at `damage_offset`.
  std::string damage;
  uint64_t damage_offset = 0;
  // An intact chunk at or behind the damage, that is not the rest of a record with a hole where
  // sectors were not written.
  std::optional<uint64_t> intact_offset;
  // Behind the last byte that is not zero.
  uint64_t data_end = 0;
  // From the damage on there are only zeros.
  bool zero_tail = false;
};

// Called for each whole record in front of any damage: where its first chunk begins, and its
// payload, a write batch, which is gone after the call.
using WalRecordFn = std::function<void(uint64_t offset, std::string_view payload)>;

// Reads the file once; memory is bounded, with `on_record` by the largest record. kIoError when it
// can't be read.
StatusOr<WalFileScan> ScanWalFile(const std::string& path, uint64_t file_number,
                                  const WalRecordFn& on_record = nullptr,
                                  rocksdb::Env* env = nullptr);

}  // namespace raftkv::wal
