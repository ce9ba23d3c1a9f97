// Table files, with their properties checked before RocksDB reads them.
//
// Every block of a table ends in a checksum, and RocksDB looks at it first, except in one: in the
// block of the table's properties, which it may have changed itself when it took the table in (a
// global sequence number; never ours, see Engine::StageKv). It takes that block apart first and
// checks it later (ReadTablePropertiesHelper). Measured on Debian's 7.8.3: a flipped bit there
// passes for a hash index, and an assertion ends the process without a word of which file it was.
// It does not check either that the footer, which has no checksum, points into the file.
#pragma once

#include <memory>

#include <rocksdb/file_system.h>

namespace raftkv::store {

// A table that is opened to be read from any place, as RocksDB does for everything but copies, is
// refused with Corruption, and the name of the file, where that is damaged, or where it is not of
// the format that engine_options.cc asks for: one flipped bit makes an older format of it. Costs a
// read of its last 8 KiB, which RocksDB is about to read as well.
std::shared_ptr<rocksdb::FileSystem> NewTableFileSystem(std::shared_ptr<rocksdb::FileSystem> base);

}  // namespace raftkv::store
