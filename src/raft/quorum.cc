#include "raft/quorum.h"

#include <algorithm>
#include <set>
#include <vector>

#include "common/mutation.h"

namespace raftkv::raft {
namespace {

using Voters = std::set<NodeId>;

size_t MajorityOf(const Voters& voters) { return voters.size() / 2 + 1; }

VoteResult TallyMajority(const Voters& voters, const std::map<NodeId, bool>& votes) {
  size_t granted = 0;
  size_t refused = 0;
  for (const NodeId voter : voters) {
    const auto it = votes.find(voter);
    if (it == votes.end()) continue;
    ++(it->second ? granted : refused);
  }
  if (granted >= MajorityOf(voters)) return VoteResult::kWon;
  if (refused > voters.size() - MajorityOf(voters)) return VoteResult::kLost;
  return VoteResult::kPending;
}

bool HasMajority(const Voters& voters, const std::function<bool(NodeId)>& holds) {
  const auto holding = std::count_if(voters.begin(), voters.end(), holds);
  return static_cast<size_t>(holding) >= MajorityOf(voters);
}

uint64_t MajorityValue(const Voters& voters, const std::function<uint64_t(NodeId)>& value_of) {
  // Sorted downwards, the value in the middle has been reached by a majority.
  std::vector<uint64_t> values;
  values.reserve(voters.size());
  for (const NodeId voter : voters) values.push_back(value_of(voter));
  const auto middle = values.begin() + static_cast<ptrdiff_t>(MajorityOf(voters) - 1);
  std::nth_element(values.begin(), middle, values.end(), std::greater<>());
  return *middle;
}

}  // namespace

VoteResult TallyVotes(const Membership& membership, const std::map<NodeId, bool>& votes) {
  if (membership.voters.empty()) return VoteResult::kPending;
  const VoteResult incoming = TallyMajority(membership.voters, votes);
  if (membership.outgoing.empty()) return incoming;
  const VoteResult outgoing = TallyMajority(membership.outgoing, votes);
  if (incoming == VoteResult::kLost || outgoing == VoteResult::kLost) return VoteResult::kLost;
  return incoming == outgoing ? incoming : VoteResult::kPending;
}

bool HasQuorum(const Membership& membership, const std::function<bool(NodeId)>& holds) {
  if (membership.voters.empty()) return false;
  return HasMajority(membership.voters, holds) &&
         (membership.outgoing.empty() || HasMajority(membership.outgoing, holds));
}

uint64_t QuorumValue(const Membership& membership,
                     const std::function<uint64_t(NodeId)>& value_of) {
  if (membership.voters.empty()) return 0;
  uint64_t incoming = MajorityValue(membership.voters, value_of);
  if (Mutated(Mutation::kLearnerCounts)) {
    Voters voters = membership.voters;
    voters.insert(membership.learners.begin(), membership.learners.end());
    incoming = MajorityValue(voters, value_of);
  }
  if (membership.outgoing.empty()) return incoming;
  return std::min(incoming, MajorityValue(membership.outgoing, value_of));
}

}  // namespace raftkv::raft
