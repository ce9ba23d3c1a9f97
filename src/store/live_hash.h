// A hash of what clients can read, and of nothing else.
#pragma once

#include <cstdint>
#include <functional>

#include "common/status.h"
#include "store/mvcc_view.h"

namespace raftkv::store {

// CRC-32C over every key that lives at revision `at`, in order: varint length and key, varints of
// create revision, mod revision, version and lease, varint length and value. Old versions,
// tombstones and how the records lie on disk leave no trace in it. `stop` is asked now and then;
// with true the answer is kCancelled.
StatusOr<uint32_t> HashLiveKeys(MvccView* view, int64_t at, const std::function<bool()>& stop);

}  // namespace raftkv::store
