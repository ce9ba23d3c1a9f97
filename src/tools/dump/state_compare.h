// Are two applied states the same, as far as both can still be asked?
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "store/engine.h"
#include "store/mvcc.h"

namespace raftkv::tools::dump {

// One record of kv that the two do not have in common.
struct StateDifference {
  std::string key;  // the record's
  bool in_a = false;
  bool in_b = false;  // both: their contents differ
};
using OnDifference = std::function<void(const StateDifference&)>;

// What can be read in both at any revision from `floor` (at least both compact revisions) to
// `revision`: the versions written in between, and of each key the one that stood at `floor`.
// Calls `on_difference` in key order. Returns how many versions were compared. One pass, nothing
// kept.
StatusOr<uint64_t> CompareVersions(store::Engine* a, store::Engine* b, int64_t floor,
                                   int64_t revision, const OnDifference& on_difference);

// Every record of one kind (store/kv_kinds.h): they are the same only at the same applied index.
StatusOr<uint64_t> CompareRecords(store::Engine* a, store::Engine* b, char kind,
                                  const OnDifference& on_difference);

}  // namespace raftkv::tools::dump
