// A SimDisk as RocksDB sees it.
#pragma once

#include <memory>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "sim/clock.h"
#include "sim/disk.h"

namespace raftkv::sim {

// Both must outlive it and all files it hands out.
std::shared_ptr<rocksdb::FileSystem> NewSimFileSystem(SimDisk* disk, const SimClock* clock);

// Takes what RocksDB has to say to nowhere: it holds addresses and times.
std::shared_ptr<rocksdb::Logger> NewNullLogger();

}  // namespace raftkv::sim
