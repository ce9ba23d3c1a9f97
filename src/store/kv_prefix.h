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
// A new extractor, for the options to own.
const rocksdb::SliceTransform* NewKvPrefixTransform();

// Which keys come in ascending order: a memtable then starts its search for the next one's place
// where it put the last of the same prefix (memtable_insert_with_hint_prefix_extractor), and each
// kind is one. The revision index does always, and finds its place at once; data keys do within a
// batch (BatchWriter), which leaves the lower levels of the search.
const rocksdb::SliceTransform* NewKvInsertHintTransform();

}  // namespace raftkv::store
