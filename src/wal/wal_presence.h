// Is the newest WAL file there?
//
// RocksDB does not say when one is gone: it replays those it finds. With the newest one the last
// acknowledged writes go, and nothing else in the directory need contradict that. But the MANIFEST
// says for each column family from which WAL file on it has unflushed data, and a WAL file of the
// highest of these numbers, or a higher one, is always there: it is made before the number is
// written down, it is the one in use from then on, and it is deleted only once a later one is
// written down.
// (RocksDB has an option that lists WAL files in the MANIFEST, but 7.8 then reports missing files
// that are not; engine_options.cc.)
#pragma once

#include <string>

#include "common/status.h"

namespace raftkv::wal {

// kCorruption when a WAL file must have been deleted. OK when the MANIFEST can't be read: that is
// for CheckManifest and the engine to say.
Status CheckNewestWalIsThere(const std::string& db_path);

}  // namespace raftkv::wal
