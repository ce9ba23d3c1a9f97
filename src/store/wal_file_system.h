// RocksDB's WAL files with zeros written ahead of what is logged, and without them for who reads.
//
// A sync after an append has the file system commit the new size and new blocks to its journal. In
// a file whose blocks are there and written, it only writes the data: a put of one client takes a
// tenth less (docs/performance.md).
//
// A file that was not closed, because of a crash or because it is in use, ends in such zeros. They
// are no part of the log: whoever reads a WAL file through this file system, RocksDB and the WAL
// scanner, finds it ending behind its last record. Closing a file cuts them off.
#pragma once

#include <cstdint>
#include <memory>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

namespace raftkv::store {

// What is filled at a time. Each piece costs a commit of the journal, so larger is better; but the
// sync behind it writes all of it.
inline constexpr uint64_t kWalFillBytes = 1 << 20;

// Whether a WAL file that is read may be written to meanwhile, and so end in a write that is under
// way.
enum class WalReading { kAtRest, kWhileWritten };

// `fill_bytes` of 0 fills nothing; files end in zeros all the same if they were made so. A file
// that can't be filled, because the disk is full, is written as far as it goes.
std::shared_ptr<rocksdb::FileSystem> NewWalFileSystem(std::shared_ptr<rocksdb::FileSystem> base,
                                                      uint64_t fill_bytes, WalReading reading);

// The machine's files, read and written so, and tables as in table_file_system.h. What an engine
// without an environment of its own uses.
rocksdb::Env* DefaultEnv(WalReading reading = WalReading::kAtRest);

}  // namespace raftkv::store
