// Linearizable reads (thesis 6.4): how the core uses what read_index.h keeps.
#include <algorithm>

#include "common/mutation.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace raftkv::raft {

StatusOr<ReadToken> Core::ReadIndex() {
  if (leader_.none()) return Status(Code::kNotLeader, "no leader is known");
  const ReadToken token = ++last_read_token_;
  if (role_ == Role::kLeader) {
    leader_reads_.Add({id(), token});
  } else {
    follower_reads_.Add(token);
  }
  return token;
}

// Until an entry of its own term is committed, a leader does not know what is (paper, section 8).
bool Core::HasCommittedInTerm() const {
  return role_ == Role::kLeader &&
         (log_.commit() >= term_start_ || Mutated(Mutation::kReadBeforeCommit));
}

bool Core::WantsReadRound() const { return leader_reads_.WantsRound() && HasCommittedInTerm(); }

void Core::StartReads() {
  if (follower_reads_.HasRequest()) Send(leader_, ReadIndexRequest{follower_reads_.TakeRequest()});
  if (!WantsReadRound()) return;
  leader_reads_.StartRound(log_.commit());
  BroadcastHeartbeat();
  ConfirmReads();  // a sole voter is a quorum
}

void Core::ConfirmReads() {
  const uint64_t round = QuorumValue(membership(), [this](NodeId voter) {
    if (voter == id() || Mutated(Mutation::kReadWithoutRound)) return leader_reads_.round();
    const auto peer = peers_.find(voter);
    return peer == peers_.end() ? 0 : peer->second.read_round;
  });
  const auto confirmed = leader_reads_.Confirm(round);
  if (!confirmed) return;
  for (const LeaderReads::Read& read : confirmed->reads) {
    if (read.from == id()) {
      reads_.push_back({read.token, confirmed->index});
    } else {
      Send(read.from, ReadIndexResponse{read.token, confirmed->index});
      // The follower has to apply that far before it can answer.
      if (const auto peer = peers_.find(read.from); peer != peers_.end()) {
        TellCommitTo(peer->first, peer->second);
      }
    }
  }
}

// The leader has changed, or is lost from sight: nobody will answer what was asked of it.
void Core::FailReads() {
  for (const LeaderReads::Read& read : leader_reads_.TakeAll()) {
    if (read.from == id()) {
      failed_reads_.push_back(read.token);
    } else {
      Send(read.from, ReadIndexResponse{read.token, Index()});
    }
  }
  const std::vector<ReadToken> asked = follower_reads_.TakeAll();
  failed_reads_.insert(failed_reads_.end(), asked.begin(), asked.end());
}

void Core::Handle(NodeId from, Term, ReadIndexRequest& request) {
  if (peers_.contains(from)) {
    leader_reads_.Add({from, request.token});
  } else {
    Send(from, ReadIndexResponse{request.token, Index()});
  }
}

void Core::Handle(NodeId from, Term, ReadIndexResponse& response) {
  if (from != leader_) return;
  for (const ReadToken token : follower_reads_.TakeAnswered(response.token)) {
    if (response.index.none()) {
      failed_reads_.push_back(token);
    } else {
      reads_.push_back({token, response.index});
    }
  }
}

}  // namespace raftkv::raft
