// Elections (paper 5.2, 5.4.1; pre-vote, thesis 9.6), check-quorum (thesis 6.2) and leadership
// transfer (thesis 3.10).
#include <algorithm>

#include "common/check.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace raftkv::raft {

void Core::ResetElectionTimer() {
  election_elapsed_ = 0;
  election_timeout_ =
      options_.election_ticks + static_cast<uint32_t>(rng_.Below(options_.election_ticks));
}

void Core::TickElection() {
  if (++election_elapsed_ < election_timeout_) return;
  if (MayCampaign()) {
    Campaign();
  } else {
    // That the leader is lost from sight is true all the same.
    BecomeFollower(term(), NodeId());
  }
}

// Only voters do; but while it is not known that the configuration in force is committed, those of
// the one before are needed still: who has the entry that takes its own vote away may be the only
// one whose log is good enough to win (thesis 4.2.2). Nor does a node that lost entries: with its
// own vote it would make up a majority that has not got them.
bool Core::MayCampaign() const {
  if (acknowledged_.lost()) return false;
  const ConfigHistory& configs = log_.configs();
  for (auto config = configs.entries().rbegin(); config != configs.entries().rend(); ++config) {
    if (config->membership.IsVoter(id())) return true;
    if (config->index <= log_.commit()) return false;
  }
  return configs.base().IsVoter(id());
}

void Core::Campaign() {
  if (role_ == Role::kLeader || !MayCampaign()) return;
  StartPreVote();
}

// Asks whether an election could be won before disturbing anyone with a new term.
void Core::StartPreVote() {
  LeaveRole();
  role_ = Role::kPreCandidate;
  leader_ = NodeId();
  ResetElectionTimer();
  RequestVotes(/*pre_vote=*/true, /*leadership_transfer=*/false);
  CountVote(id(), true);  // binds nothing, so it need not be stored first
}

void Core::StartElection(bool leadership_transfer) {
  LeaveRole();
  hard_state_ = {term() + 1, id(), Index()};
  agreed_ = Index();
  role_ = Role::kCandidate;
  leader_ = NodeId();
  ResetElectionTimer();
  // Our own vote is counted in OnAppended.
  RequestVotes(/*pre_vote=*/false, leadership_transfer);
}

void Core::RequestVotes(bool pre_vote, bool leadership_transfer) {
  const VoteRequest request{pre_vote, leadership_transfer, log_.last_position()};
  for (const NodeId voter : membership().All()) {
    if (voter == id() || !membership().IsVoter(voter)) continue;
    if (pre_vote) {
      SendAt(term() + 1, voter, request);
    } else {
      // Says that we voted for ourselves in this term: it must not be forgotten afterwards.
      Promise(voter, request, Index());
    }
  }
}

void Core::Handle(NodeId from, Term request_term, VoteRequest& request) {
  // Paper 5.4.1: only a log that holds all that is committed may win.
  const bool up_to_date = !IsBehind(request.last, acknowledged_.VoteFloor(log_.last_position()));
  // A request of a later term than ours is a pre-vote: any other has raised our term.
  const bool free_to_vote =
      request_term > term() || vote() == from || (vote().none() && leader_.none());
  if (!up_to_date || !free_to_vote) {
    Send(from, VoteResponse{.pre_vote = request.pre_vote, .granted = false});
    return;
  }
  const VoteResponse granted{.pre_vote = request.pre_vote, .granted = true};
  if (request.pre_vote) {
    SendAt(request_term, from, granted);
    return;
  }
  hard_state_.vote = from;
  election_elapsed_ = 0;
  Promise(from, granted, Index());
}

void Core::Handle(NodeId from, Term response_term, VoteResponse& response) {
  const Role asked_as = response.pre_vote ? Role::kPreCandidate : Role::kCandidate;
  if (role_ != asked_as) return;
  // A grant of a pre-vote names the term it was asked for.
  if (response.pre_vote && response.granted && response_term != term() + 1) return;
  CountVote(from, response.granted);
}

void Core::CountVote(NodeId from, bool granted) {
  if (!membership().IsVoter(from)) return;
  votes_.emplace(from, granted);  // the first answer stands
  switch (TallyVotes(membership(), votes_)) {
    case VoteResult::kPending:
      return;
    case VoteResult::kLost:
      BecomeFollower(term(), NodeId());
      return;
    case VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        StartElection(/*leadership_transfer=*/false);
      } else {
        BecomeLeader();
      }
      return;
  }
}

void Core::BecomeLeader() {
  RAFTKV_CHECK(role_ == Role::kCandidate && vote() == id(), "only a candidate can win");
  LeaveRole();
  role_ = Role::kLeader;
  leader_ = id();
  election_elapsed_ = 0;
  for (const NodeId peer : membership().All()) {
    if (peer != id()) peers_.emplace(peer, Progress(log_.last() + 1));
  }
  // Entries that are not committed are of the last committed one's term or a later.
  std::erase_if(led_terms_, [&](Term led) { return led < log_.TermAt(log_.commit()); });
  led_terms_.push_back(term());
  // Entries of earlier terms can be committed only by way of one of ours (paper 5.4.2).
  term_start_ = log_.last() + 1;
  AppendAsLeader(EntryKind::kNoop, nullptr);
}

// A leader that a quorum does not hear can't commit anything; stepping down lets its clients know,
// and its pending reads fail.
void Core::CheckQuorum() {
  const bool heard = HasQuorum(membership(), [this](NodeId voter) {
    const auto peer = peers_.find(voter);
    return voter == id() || (peer != peers_.end() && peer->second.recently_active);
  });
  if (!heard) {
    BecomeFollower(term(), NodeId());
    return;
  }
  for (auto& [peer, progress] : peers_) progress.recently_active = false;
}

Contact Core::ContactWith(const Progress& progress) const {
  return progress.contact(ticks_led_, options_.election_ticks);
}

Status Core::TransferLeadership(NodeId target) {
  if (role_ != Role::kLeader) return Status(Code::kNotLeader, "this node does not lead");
  if (target == id()) return Status::Ok();
  if (target.none()) target = MostCaughtUpVoter();
  if (target.none() || !membership().IsVoter(target)) {
    return Status(Code::kFailedPrecondition, "there is no such other voter to lead");
  }
  transfer_target_ = target;
  transfer_elapsed_ = 0;
  ContinueTransfer();
  return Status::Ok();
}

// One that was heard from lately, if there is any, and of those the most caught-up. None without
// another voter.
NodeId Core::MostCaughtUpVoter() const {
  NodeId voter;
  std::pair<bool, Index> best;
  for (const auto& [peer, progress] : peers_) {
    const std::pair<bool, Index> standing{ContactWith(progress) == Contact::kHeard,
                                          progress.match()};
    if (!membership().IsVoter(peer) || (!voter.none() && standing <= best)) continue;
    voter = peer;
    best = standing;
  }
  return voter;
}

// Nothing is proposed during a transfer, so that the target catches up. A lost TimeoutNow is sent
// again whenever the target is heard from.
void Core::ContinueTransfer() {
  if (transfer_target_.none()) return;
  const auto target = peers_.find(transfer_target_);
  if (target != peers_.end() && target->second.match() == log_.last()) {
    Send(transfer_target_, TimeoutNow{});
  }
}

void Core::Handle(NodeId from, Term, TimeoutNow&) {
  // No pre-vote, and voters make an exception (VoteRequest::leadership_transfer): the leader itself
  // asks for this election.
  if (from == leader_ && MayCampaign()) StartElection(/*leadership_transfer=*/true);
}

}  // namespace raftkv::raft
