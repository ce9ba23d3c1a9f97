// Reads the applied state of the kv column family record by record.
#pragma once

#include <functional>
#include <string>

#include "common/status.h"
#include "store/applied_record.h"
#include "store/engine.h"
#include "store/mvcc.h"

namespace raftkv::tools::dump {

// The applied record that is in the directory. In a read-only engine that is what was flushed,
// since kv is written without WAL. kNotFound when nothing ever was.
StatusOr<store::AppliedRecord> ReadApplied(store::Engine* engine);
// The same where nothing flushed is a state like another: the one before the first entry.
StatusOr<store::AppliedRecord> ReadAppliedOrInitial(store::Engine* engine);

// Data keys (store/mvcc.h) from `from` up to but not `end`.
struct DataRange {
  std::string from;
  std::string end;

  static DataRange StartingWith(const std::string& prefix);
  // User keys from `from` up to but not `end`; empty `end`: to the last.
  static DataRange Between(const std::string& from, const std::string& end);
};

// A version of a key. It points into memory that is gone after the call.
struct KeyState {
  std::string key;
  store::Revision mod;
  store::DataRecord record;
};

// Calls `each` for every version of every key, tombstones too, in the order of keys, newest first,
// until it returns false; and `damaged`, with the key if it is known, for every record that can't
// be decoded. The result is what RocksDB said in the end.
Status ForEachVersion(
    store::Engine* engine, const DataRange& range, const std::function<bool(const KeyState&)>& each,
    const std::function<void(const KeyState& version, const Status& damage)>& damaged);

// Calls `each` for every key as it exists at `revision`, in key order, until it returns false, and
// `damaged` for every record that can't be decoded. A damaged version hides its key: an older one
// in its place would be wrong.
Status ForEachKey(store::Engine* engine, const DataRange& range, int64_t revision,
                  const std::function<bool(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged);
// All keys that start with `prefix`.
Status ForEachKey(store::Engine* engine, const std::string& prefix, int64_t revision,
                  const std::function<void(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged);

}  // namespace raftkv::tools::dump
