// What the applied state knows of the cluster itself: little, and kept in memory beside the
// records.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <set>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "store/engine.h"

namespace raftkv::store {

struct Alarm {
  NodeId member;
  uint8_t type = 0;  // etcdserverpb.AlarmType

  auto operator<=>(const Alarm&) const = default;
};

// Replicated: equal on every node that applied the same entries.
struct ClusterState {
  // Of the last configuration entry applied; none before the first.
  std::optional<Membership> configuration;
  std::set<Alarm> alarms;  // those that are raised

  bool WasRemoved(NodeId member) const {
    return configuration && configuration->removed.contains(member);
  }
};

// Reads it all. kCorruption for a damaged record.
StatusOr<ClusterState> ReadClusterState(rocksdb::DB* db, const FamilyHandle& kv);

}  // namespace raftkv::store
