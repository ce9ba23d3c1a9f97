// What RocksDB's bloom filters of the kv column family are made of.
#pragma once

#include <rocksdb/slice_transform.h>

namespace raftkv::store {

// A data key's prefix is everything but its revision, so that a filter tells whether a memtable or
// a file holds any version of a key: a put of a new key then touches no data block. A session key
// is its own prefix. Other kinds are read by scans only and have none.
//
// Nothing depends on it but speed: scans ask for total order, reads of one key check what they
// find, and a database written with it opens without it (ldb does).
//
// The extractor itself; kept alive by the options that hold it.
const rocksdb::SliceTransform* NewKvPrefixTransform();

}  // namespace raftkv::store
