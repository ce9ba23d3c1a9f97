// Who votes, who only listens.
#pragma once

#include <set>
#include <string>

#include "common/types.h"

namespace raftkv::raft {

// A configuration. While `outgoing` is not empty it is a joint one: decisions need a majority of
// `voters` and a majority of `outgoing` (paper, section 6).
struct Membership {
  std::set<NodeId> voters;
  std::set<NodeId> outgoing;
  std::set<NodeId> learners;

  bool IsVoter(NodeId id) const { return voters.contains(id) || outgoing.contains(id); }
  bool Contains(NodeId id) const { return IsVoter(id) || learners.contains(id); }
  // Everyone in it, in order of id.
  std::set<NodeId> All() const;

  bool operator==(const Membership&) const = default;
};

std::string ToString(const Membership& membership);

}  // namespace raftkv::raft
