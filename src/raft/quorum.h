// What a majority agrees on. Every decision of the core goes through here, so that a joint
// configuration (two majorities, paper section 6) needs no other place to know of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "common/membership.h"
#include "common/types.h"

namespace raftkv::raft {

// Learners never count. A membership without voters can't decide anything: it never wins a vote,
// and agrees on 0.

enum class VoteResult : uint8_t { kPending, kWon, kLost };

// `votes` holds the answers so far, true for granted; who is not in it has not answered.
VoteResult TallyVotes(const Membership& membership, const std::map<NodeId, bool>& votes);

// Whether the voters for which `holds` is true form a quorum.
bool HasQuorum(const Membership& membership, const std::function<bool(NodeId)>& holds);

// The highest value that a quorum has reached, when each voter has reached `value_of` it.
uint64_t QuorumValue(const Membership& membership, const std::function<uint64_t(NodeId)>& value_of);

}  // namespace raftkv::raft
