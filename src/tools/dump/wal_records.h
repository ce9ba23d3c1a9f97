// RocksDB's WAL files record by record. The WAL holds the Raft log and raft_meta; the applied state
// is written without it.
//
// What the files say about syncs: nothing. But one thread writes the log, one batch at a time, and
// syncs each before it writes the next (src/wal/log_writer.h). So a record that another follows was
// on disk before that one was begun, and whatever it acknowledged is there. Nothing is known of the
// very last record: it was written, and perhaps not synced and not acknowledged. What deletes
// entries in front of a cut log, a batch of nothing but a range deletion, is written without a
// sync, but never with anything unsynced in front of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/write_batch.h>

#include "common/status.h"
#include "store/engine_files.h"
#include "wal/wal_file_scan.h"

namespace raftkv::tools::dump {

enum class WalUpdateKind { kPut, kDelete, kSingleDelete, kDeleteRange, kMerge };

// "put", "delete", ...
std::string_view WalUpdateKindName(WalUpdateKind kind);

// One change in a batch. The views point into the record.
struct WalUpdate {
  WalUpdateKind kind = WalUpdateKind::kPut;
  uint32_t family = 0;  // its id; the MANIFEST has the name (manifest.h)
  std::string_view key;
  std::string_view value;  // of kDeleteRange: the key where the range ends
};

// A write batch. Gone after the call that hands it over.
struct WalRecord {
  uint64_t offset = 0;    // in the file, of its first chunk
  uint64_t bytes = 0;     // of the batch
  uint64_t sequence = 0;  // of the first change; each takes the next one
  std::vector<WalUpdate> updates;
  Status status;  // kCorruption: the bytes are those that were written, and no batch
};

// The record that `batch` is, its views pointing into it; without an offset.
WalRecord ReadBatch(const rocksdb::WriteBatch& batch);

// Calls `each` for every whole record in front of any damage, in order. The result says how the
// file ends: with `damage`, precisely where and why it could not be read on. Memory is bounded by
// the largest record.
StatusOr<wal::WalFileScan> ForEachWalRecord(const store::WalFile& file,
                                            const std::function<void(const WalRecord&)>& each);

}  // namespace raftkv::tools::dump
