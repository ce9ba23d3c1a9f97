// How a new node finds out which member it is.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/types.h"
#include "server/options.h"

namespace raftkv::server {

struct ClusterMember {
  NodeId id;
  std::string name;  // empty until it has started
  std::vector<std::string> peer_urls;
  bool learner = false;
  bool removed = false;  // only listed to tell it so

  bool operator==(const ClusterMember&) const = default;
};

// A cluster as one of its nodes knows it.
struct JoinedCluster {
  ClusterId cluster;
  NodeId self;    // in AskToJoin's result: who the asking node is
  NodeId leader;  // none: not known
  std::vector<ClusterMember> members;
};

// Asks the nodes at `ask` (own URLs among them are skipped) until one lists a member that has
// exactly the peer URLs `own`, in any order. Blocks, up to `timeout`.
//   kUnavailable         nobody answered
//   kNotFound            nobody lists such a member: it has to be added first
//   kFailedPrecondition  that member was removed, or the nodes are of another version
StatusOr<JoinedCluster> AskToJoin(const std::vector<Url>& ask, const std::vector<Url>& own,
                                  std::chrono::milliseconds timeout);

}  // namespace raftkv::server
