// Asks another member for the hash of its applied state.
#pragma once

#include <chrono>
#include <cstdint>

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
  Url url;                // where `to` is reached
  uint64_t revision = 0;  // 0: the current one
  std::chrono::milliseconds timeout{30'000};
};

// Blocks. kOutOfRange when the revision is in the future there or was compacted (the member's own
// message says which); kUnavailable when the member can't be reached.
StatusOr<HashKvAnswer> AskHashKv(const HashKvQuestion& question);

}  // namespace raftkv::server
