// Asks another member for the hash of its applied state.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "common/status.h"
#include "common/types.h"
#include "server/options.h"

namespace raftkv::server {

struct HashKvAnswer {
  uint64_t hash = 0;
  uint64_t revision = 0;  // that was hashed
  uint64_t compact_revision = 0;
  Index applied;

  bool operator==(const HashKvAnswer&) const = default;
};

struct HashKvQuestion {
  ClusterId cluster;
  NodeId from;
  NodeId to;
  Url url;                                     // where `to` is reached
  uint64_t revision = 0;                       // 0: the current one
  std::chrono::milliseconds timeout{300'000};  // hashing a large state takes its time
};

// Blocks, until `stop` (asked every so often) says true at the latest. kOutOfRange when the
// revision is in the future there or was compacted (the member's own message says which);
// kUnavailable when the member can't be reached; kCorruption when it found its data damaged.
StatusOr<HashKvAnswer> AskHashKv(const HashKvQuestion& question,
                                 const std::function<bool()>& stop = nullptr);

}  // namespace raftkv::server
