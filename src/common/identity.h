// The ids of a cluster's first members and of the cluster: both raftkvd, which bootstraps by them,
// and raftkvctl snapshot restore, which makes directories for raftkvd, must come to the same.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/types.h"

namespace raftkv {

// A member's id follows from the cluster token and its name, not from its addresses: a member may
// move. Likewise the cluster's from the token and all names.
NodeId DeriveNodeId(const std::string& token, const std::string& name);
ClusterId DeriveClusterId(const std::string& token, const std::set<std::string>& names);

// The id of a member that is added to a running cluster: never that of another member, nor one that
// was used before.
NodeId NewMemberId(ClusterId cluster, const std::vector<std::string>& peer_urls, uint64_t time_ns);

}  // namespace raftkv
