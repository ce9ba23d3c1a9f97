// Reads the records of one kind in the kv column family.
#pragma once

#include <functional>
#include <string_view>

#include "common/status.h"
#include "store/engine.h"

namespace raftkv::tools::dump {

// Calls `each` with every key of `kind` (store/kv_kinds.h) and its record, in order, until it
// returns false. The views are gone after the call. The result is what RocksDB said in the end.
Status ForEachKvRecord(
    store::Engine* engine, char kind,
    const std::function<bool(std::string_view key, std::string_view record)>& each);

}  // namespace raftkv::tools::dump
