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

// A key as it stands at a revision.
struct KeyState {
  std::string key;
  store::Revision mod;
  store::DataRecord record;  // points into memory that is gone after the call
};

// Calls `each` for every key that starts with `prefix` and exists at `revision`, in key order, and
// `damaged` for every record that can't be decoded. A damaged version hides its key: an older one
// in its place would be wrong. The result is what RocksDB said in the end.
Status ForEachKey(store::Engine* engine, const std::string& prefix, int64_t revision,
                  const std::function<void(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged);

}  // namespace raftkv::tools::dump
