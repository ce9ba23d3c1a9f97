// RocksDB's own log, the file LOG in the database's directory: what it flushed and compacted, for
// whoever looks into how it behaved.
#pragma once

#include <memory>
#include <string>

#include <rocksdb/env.h>

namespace raftkv::store {

// Appends to `directory`/LOG and starts another at 16 MiB; the four before are LOG.1 to LOG.4. It
// is no part of the data: a line that can't be written (the disk is full) is left out. RocksDB's
// own logger ends the process then, at its second line (an assertion in 7.8's WritableFileWriter),
// and so takes away a node that could still serve reads. Thread-safe.
std::shared_ptr<rocksdb::Logger> OpenInfoLog(const std::string& directory);

// Takes everything and keeps nothing.
std::shared_ptr<rocksdb::Logger> NoInfoLog();

}  // namespace raftkv::store
