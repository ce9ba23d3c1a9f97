// Reads RocksDB's MANIFEST before RocksDB does.
//
// The MANIFEST lists the files that make up the database, as a log of changes in the same chunk
// format as the WAL. RocksDB takes a chunk that reaches beyond the end of the file for a write that
// a crash cut off, and drops it and all that follows without a word. So one flipped bit in a length
// field takes the database back to an older list of files: measured on 7.8.3, after a clean stop
// the whole Raft log, vote included, was gone and the open returned OK. (And an open for writing
// then deletes the files that are no longer listed.)
#pragma once

#include <string>

#include <rocksdb/env.h>

#include "common/status.h"

namespace raftkv::wal {

// Checks the MANIFEST that CURRENT names. kCorruption, with file and offset, when anything intact
// follows damage, or when the last chunk is all there and only its header is wrong; a last chunk of
// which the end is really missing is what a crash leaves. OK when CURRENT or the file it names
// can't be read: the engine refuses that itself.
Status CheckManifest(const std::string& db_path, rocksdb::Env* env = nullptr);

}  // namespace raftkv::wal
