// Who votes, who only listens, where they are reached, and who has left for good.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/types.h"

namespace raftkv {

// What the cluster knows of a member besides its vote. It travels with the configuration, so that a
// node that learns of a member learns at once where to reach it.
struct MemberInfo {
  std::vector<std::string> peer_urls;  // "http://host:port"
  // A learner that was added to be a voter: the leader promotes it once it has caught up. Until
  // then it can't cost the quorum.
  bool promote = false;

  bool operator==(const MemberInfo&) const = default;
};

// A configuration. While `outgoing` is not empty it is a joint one: decisions need a majority of
// `voters` and a majority of `outgoing` (paper, section 6).
struct Membership {
  std::set<NodeId> voters;
  std::set<NodeId> outgoing;
  // A learner may also be in `outgoing`: it votes until the joint configuration is left.
  std::set<NodeId> learners;
  // By member; one without an entry (a directory of an older version) is reached at the address
  // that --initial-cluster gives. Removed members keep theirs, to be told that they were removed.
  std::map<NodeId, MemberInfo> info;
  // Members that were removed. Ids are never used again, so that a node that comes back can be told
  // that it was removed, whoever it asks.
  std::set<NodeId> removed;

  bool IsVoter(NodeId id) const { return voters.contains(id) || outgoing.contains(id); }
  bool IsLearner(NodeId id) const { return learners.contains(id) && !IsVoter(id); }
  bool Contains(NodeId id) const { return IsVoter(id) || learners.contains(id); }
  bool IsJoint() const { return !outgoing.empty(); }
  // Everyone in it, in order of id.
  std::set<NodeId> All() const;

  bool operator==(const Membership&) const = default;
};

std::string ToString(const Membership& membership);

}  // namespace raftkv
